"""A job's output as one stream of rows: judgments, and beside them the texts that were judged."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.buckets import read_ahead
from rank1_batch.config import InputConfig
from rank1_batch.errors import RefusedError, SettingsError
from rank1_batch.export.formats import FORMATS, check_rank1_template
from rank1_batch.export.settings import QRELS, ExportConfig, format_names, given_from
from rank1_batch.judging import Finish, PolicyKind
from rank1_batch.manifest import JOB_PATH, SUCCESS_PATH, committed_units, judgments_path, read_plan
from rank1_batch.parquet import open_parquet, read_or_blame
from rank1_batch.schema import (
    CANDIDATE,
    DOC_ID,
    FALSE_LOGPROB,
    FINISH,
    FIRST_STAGE_RANK,
    LABEL,
    QUERY_ID,
    ROW,
    SCORE,
    TRUE_LOGPROB,
    UNIT_ID,
    build_texts,
    to_text,
)
from rank1_batch.stages.plan import check_planned_files, open_input
from rank1_batch.stages.rows import UnitRows
from rank1_batch.storage import Store, open_store, read_bytes
from rank1_batch.trec import is_beir_header, is_comment, parse_beir_qrel_line, parse_qrel_line
from rank1_batch.units import Unit

COLUMNS = (
    QUERY_ID, DOC_ID, SCORE, TRUE_LOGPROB, FALSE_LOGPROB, LABEL, FINISH, UNIT_ID, ROW, CANDIDATE, FIRST_STAGE_RANK,
)  # fmt: skip
Grades = Mapping[tuple[str, str], int]
"""People's grades by query_id and doc_id."""


class Judgments(NamedTuple):
    """A finished job's output: its committed units in the plan's order, and what shaped its scores.

    `missing` are units whose input could not be read when they were to be judged.
    """

    store: Store
    units: list[Unit]
    missing: list[Unit]
    fingerprint: dict[str, Any]


def open_judgments(url: str) -> Judgments:
    """The judgments at an `output.path`. Raises SettingsError unless a job came to its end there."""
    store = open_store(url)
    found = read_bytes(store, JOB_PATH)
    if found is None:
        raise SettingsError([f"output.path: {url} is no output of jobs.rerank (there is no {JOB_PATH})"])
    if read_bytes(store, SUCCESS_PATH) is None:
        raise SettingsError([f"output.path: {url} is not judged to its end: run jobs.rerank again, then this"])
    plan, committed = read_plan(store), committed_units(store)
    units = [unit for unit in plan if unit.unit_id in committed]
    missing = [unit for unit in plan if unit.unit_id not in committed]
    return Judgments(store, units, missing, json.loads(found))


def check_job(config: ExportConfig, fingerprint: Mapping[str, Any]) -> None:
    """Raises SettingsError with all that is asked for and that these judgments cannot give."""
    problems = []
    no_think = fingerprint["policy"]["kind"] == PolicyKind.NO_THINK
    if no_think and Finish.NO_THINK not in config.labels.finishes:
        problems.append("labels.finishes: all rows were judged with policy=no_think: labels.finishes=[no_think]")
    with_trace = [name for name in format_names(config) if no_think and FORMATS[name].needs_trace]
    problems += [f"format={name} needs reasoning: rows judged with policy=no_think have none" for name in with_trace]
    if "rank1" in format_names(config):
        problems += check_rank1_template(fingerprint["prompt"]["template"])
    given, keep = given_from(config), fingerprint["keep"]
    if given not in (None, QRELS, *keep):
        there_are = ", ".join([QRELS, *keep])
        problems.append(f"labels.source, labels.agree_with: {given} is no column that was kept; there are {there_are}")
    if problems:
        raise SettingsError(problems)


def open_texts(config: ExportConfig, judgments: Judgments) -> UnitRows | None:
    """A reader of the rows that were judged; None where no format has texts.

    Raises RefusedError where a file is not what it was when the job was planned.
    """
    if not any(FORMATS[name].needs_text for name in format_names(config)):
        return None
    store, files = open_input(InputConfig(path=config.input.path))
    check_planned_files(store, files, judgments.units)
    return UnitRows(store, judgments.fingerprint["columns"], ())


def read_judged(judgments: Judgments, texts: UnitRows | None, more: Sequence[str]) -> Iterator[pa.Table]:
    """A table a unit: COLUMNS, `more` columns of the judgments as text, and query, title and passage."""
    columns = [*COLUMNS, *more]

    def read(unit: Unit) -> pa.Table:
        table = _read_unit(judgments.store, unit, columns, texts)
        for name in more:
            table = table.set_column(table.schema.get_field_index(name), name, to_text(table[name]))
        return table

    return read_ahead(read, judgments.units)


def _read_unit(store: Store, unit: Unit, columns: list[str], texts: UnitRows | None) -> pa.Table:
    path = judgments_path(unit.unit_id)
    table = read_or_blame(store, path, lambda: open_parquet(store, path).read(columns=columns))
    table = table.replace_schema_metadata(None)
    if texts is None:
        return table
    rows = texts.read(unit)
    if not all(table[name].equals(rows[name]) for name in (ROW, CANDIDATE)):
        raise RefusedError(f"{store.url}/{path}: its rows are not those of {unit.path}: was another input judged?")
    found = build_texts(rows)
    for name in found.column_names:
        table = table.append_column(name, found[name])
    return table


def read_grades(url: str) -> dict[tuple[str, str], int]:
    """People's grades from TREC or BEIR qrels, plain or `.gz`. Raises SettingsError with every bad line."""
    folder, _, name = url.rpartition("/")
    store = open_store(folder or ("/" if url.startswith("/") else "."))
    data = read_bytes(store, name)
    if data is None:
        raise SettingsError([f"qrels: {url}: there is no such file"])
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    lines = text.split("\n")
    beir = is_beir_header(lines[0])
    parse: Callable[[str], Any] = parse_beir_qrel_line if beir else parse_qrel_line
    grades: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    for number, line in enumerate(lines[beir:], 1 + beir):
        if is_comment(line):
            continue
        try:
            qrel = parse(line)
        except ValueError as error:
            problems.append(f"qrels: {url}:{number}: {error}")
            continue
        if grades.setdefault((qrel.query_id, qrel.doc_id), qrel.relevance) != qrel.relevance:
            problems.append(f"qrels: {url}:{number}: {qrel.query_id} {qrel.doc_id} has another grade further up")
    if problems:
        raise SettingsError(problems)
    return grades
