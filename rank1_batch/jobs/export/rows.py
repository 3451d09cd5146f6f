"""Reads a job's output as one stream of rows: judgments together with the texts that were judged."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.collection.qrels import read_qrels
from rank1_batch.columns import (
    CANDIDATE,
    DOC_ID,
    FALSE_LOGPROB,
    FINISH,
    FIRST_STAGE_RANK,
    INSTRUCTION,
    LABEL,
    QUERY,
    QUERY_ID,
    ROW,
    SCORE,
    TRUE_LOGPROB,
    UNIT_ID,
)
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.export.formats import FORMATS, check_rank1_template
from rank1_batch.jobs.export.settings import QRELS, ExportConfig, check_apart, format_names, given_from
from rank1_batch.judging.prompts import combine_query
from rank1_batch.judging.records import Finish, PolicyKind
from rank1_batch.output.claims import read_claim
from rank1_batch.output.fingerprint import RERANK, find_judge
from rank1_batch.output.generations import read_generations
from rank1_batch.output.judgments import join_texts, read_judgments
from rank1_batch.output.layout import JOB_PATH, SETTINGS_PATH, SUCCESS_PATH
from rank1_batch.output.plan import read_inputs
from rank1_batch.output.success import find_finished_units
from rank1_batch.output.summary import read_summary
from rank1_batch.pairs.inputs import find_now, match_planned_files, open_input
from rank1_batch.pairs.layout import to_text
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import InputConfig
from rank1_batch.storage.documents import read_document
from rank1_batch.storage.parquet import read_ahead
from rank1_batch.storage.store import FileInfo, Store, open_store, stat_file

JUDGED_COLUMNS = (
    QUERY_ID, DOC_ID, SCORE, TRUE_LOGPROB, FALSE_LOGPROB, LABEL, FINISH, UNIT_ID, ROW, CANDIDATE, FIRST_STAGE_RANK,
)  # fmt: skip

UNITS_AHEAD = 8
"""How many units, with their texts, may wait in memory. A unit of a large job takes some 10 MB."""

GradeTable = Mapping[tuple[str, str], int]
"""People's grades by query_id and doc_id."""


class Judgments(NamedTuple):
    """A finished job's output: its committed units in the plan's order, and the settings that affect scores.

    `missing`: units that were not judged because their input could not be read. `again`: which rows
    were judged again (jobs.redo). `input_path`: where the pairs were read.
    """

    store: Store
    units: list[Unit]
    missing: list[Unit]
    fingerprint: dict[str, Any]
    again: list[Any]
    input_path: Any


class Texts(NamedTuple):
    """A reader of the rows that were judged, and the files of the plan as they are found now."""

    reader: UnitReader
    now: Mapping[str, FileInfo]

    def read(self, unit: Unit) -> pa.Table:
        """The rows of a unit, as the replica read them."""
        (found,) = find_now([unit], self.now)
        return self.reader.read(found)[0]


def open_judgments(url: str) -> Judgments:
    """The judgments at an `output.path`. Raises SettingsError unless a job has finished there."""
    store = open_store(url)
    fingerprint = read_claim(store, RERANK)
    if fingerprint is None:
        raise SettingsError([f"output.path: {url} is not an output of jobs.rerank (it has no {JOB_PATH})"])
    units, missing = find_finished_units(store)
    again = [{name: generation[name] for name in ("where", "policy")} for generation in read_generations(store)]
    recorded = read_document(store, SETTINGS_PATH, dict[str, Any]) or {}
    return Judgments(store, units, missing, fingerprint, again, recorded.get("input", {}).get("path"))


def describe_judging(judgments: Judgments) -> dict[str, Any]:
    """When the job finished (a day, None if the store does not say), and on which versions its last run was."""
    success, summary = stat_file(judgments.store, SUCCESS_PATH), read_summary(judgments.store)
    at = success.modified_at if success else None
    day = None if at is None else dt.datetime.fromtimestamp(at, dt.UTC).date().isoformat()
    return {"judged_on": day, "judged_by_versions": summary.versions if summary else {}}


def check_job(config: ExportConfig, fingerprint: Mapping[str, Any]) -> None:
    """Raises SettingsError if the settings ask for something that these judgments do not have. Lists all problems."""
    problems = []
    if (judge := find_judge(fingerprint)) and judge.is_dry_run and not config.labels.allow_scripted:
        problems.append(
            "output.path: this is a dry run (engine=scripted), so its labels are made up. To try an export with them "
            "all the same, set labels.allow_scripted=true"
        )
    no_think = fingerprint["policy"]["kind"] == PolicyKind.NO_THINK
    if no_think and Finish.NO_THINK not in config.labels.finishes:
        problems.append("labels.finishes: all rows were judged with policy=no_think; set labels.finishes=[no_think]")
    with_trace = [name for name in format_names(config) if no_think and FORMATS[name].needs_trace]
    problems += [f"format={name} needs reasoning, but policy=no_think leaves rows without it" for name in with_trace]
    if "rank1" in format_names(config):
        problems += check_rank1_template(fingerprint["prompt"]["template"])
    given, keep = given_from(config), fingerprint["keep"]
    if given not in (None, QRELS, *keep):
        there_are = ", ".join([QRELS, *keep])
        problems.append(f"labels.source, labels.agree_with: the column {given} was not kept; choose from {there_are}")
    if problems:
        raise SettingsError(problems)


def open_texts(config: ExportConfig, judgments: Judgments) -> Texts | None:
    """A reader of the rows that were judged; None if no format needs texts.

    They are read from `input.path` if it is given, else from where the job last read them. Raises
    RefusedError if a file has changed since the job was planned.
    """
    if not any(FORMATS[name].needs_text for name in format_names(config)):
        return None
    path = config.input.path or judgments.input_path
    if path is None:
        raise SettingsError(["input.path must be given: this output does not record where its pairs were read"])
    problems = check_apart(config.labels.path, path)
    if problems:
        raise SettingsError(problems)
    store, files = open_input(InputConfig(path=path))
    now = match_planned_files(store, files, judgments.units, read_inputs(judgments.store))
    return Texts(UnitReader(store, judgments.fingerprint["columns"], ()), now)


def read_judged(judgments: Judgments, texts: Texts | None, more: Sequence[str]) -> Iterator[pa.Table]:
    """One table for each unit: JUDGED_COLUMNS, the columns `more` as text, and query, title and passage.

    The query includes the instruction, as in the prompt.
    """

    def read(unit: Unit) -> pa.Table:
        table = read_judgments(judgments.store, unit, [*JUDGED_COLUMNS, *more]).replace_schema_metadata(None)
        for name in more:
            table = table.set_column(table.schema.get_field_index(name), name, to_text(table[name]))
        if texts is None:
            return table
        rows = texts.read(unit)
        return _combine_queries(join_texts(table, rows, f"{judgments.store.url}, unit {unit.unit_id}"))

    return read_ahead(read, judgments.units, UNITS_AHEAD)


def _combine_queries(table: pa.Table) -> pa.Table:
    """Put the instruction into the query. A row without text is an error row; its query is empty."""
    pairs = zip(table[QUERY].to_pylist(), table[INSTRUCTION].to_pylist(), strict=True)
    queries = pa.array([combine_query(query or "", instruction, None) for query, instruction in pairs], pa.string())
    return table.drop_columns([INSTRUCTION]).set_column(table.schema.get_field_index(QUERY), QUERY, queries)


def read_grades(config: ExportConfig) -> dict[tuple[str, str], int]:
    """People's grades from `qrels`; empty if the setting is not given."""
    if config.qrels is None:
        return {}
    found = read_qrels("qrels", config.qrels)
    return {(query_id, doc_id): grade for query_id, own in found.items() for doc_id, grade in own.items()}
