"""Reads an output, finished or not, as one stream of rows: judgments together with the texts that were judged."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.columns import (
    CANDIDATE,
    DOC_ID,
    ERROR,
    FALSE_LOGPROB,
    FINISH,
    FIRST_STAGE_RANK,
    FIRST_STAGE_SCORE,
    INSTRUCTION,
    LABEL,
    PASSAGE,
    PASSAGE_TRUNCATED,
    PROMPT_TOKENS,
    QUERY,
    QUERY_ID,
    ROW,
    SCORE,
    TITLE,
    TRACE,
    TRACE_TOKENS,
    TRUE_LOGPROB,
    UNIT_ID,
)
from rank1_batch.errors import RefusedError, SettingsError
from rank1_batch.judging.prompts import combine_query
from rank1_batch.output.claims import read_claim
from rank1_batch.output.fingerprint import RERANK
from rank1_batch.output.generations import read_generations
from rank1_batch.output.judgments import join_texts, read_judgments
from rank1_batch.output.layout import JOB_PATH, JUDGMENTS_FOLDER, SETTINGS_PATH
from rank1_batch.output.lease import Lease, read_lease
from rank1_batch.output.plan import read_plan
from rank1_batch.output.success import is_finished
from rank1_batch.output.summary import Summary, read_summary
from rank1_batch.pairs.inputs import check_planned_files, open_input
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import InputConfig
from rank1_batch.storage.documents import read_document
from rank1_batch.storage.parquet import read_ahead
from rank1_batch.storage.store import FileInfo, Store, list_files, open_store

PLAN_PLACE = "place"
"""The number of a row among all rows of the output, in the plan's order."""

REPORTED_COLUMNS = (
    QUERY_ID, DOC_ID, SCORE, TRUE_LOGPROB, FALSE_LOGPROB, LABEL, FINISH, TRACE, PROMPT_TOKENS, TRACE_TOKENS,
    PASSAGE_TRUNCATED, ERROR, UNIT_ID, ROW, CANDIDATE, FIRST_STAGE_RANK, FIRST_STAGE_SCORE,
)  # fmt: skip

FEW_UNITS_AHEAD = 8
"""How many units, with their texts, may wait in memory."""


class JobOutput(NamedTuple):
    """An output as it was when it was looked at.

    `units` are the committed ones in the plan's order, `planned` all of them. `version` changes when a unit is
    committed or judged again.
    """

    store: Store
    units: list[Unit]
    planned: list[Unit]
    version: str
    finished: bool
    lease: Lease | None
    fingerprint: dict[str, Any]
    settings: dict[str, Any]
    summary: Summary | None
    again: list[dict[str, Any]]

    @property
    def rows(self) -> int:
        """How many rows are committed."""
        return sum(unit.pairs for unit in self.units)

    @property
    def rows_planned(self) -> int:
        """How many rows the job has."""
        return sum(unit.pairs for unit in self.planned)


class ReportTexts(NamedTuple):
    """Where the texts of queries and passages are read. `missing` says why there are none."""

    reader: UnitReader | None
    missing: str | None = None


def open_output(url: str) -> JobOutput:
    """The output of a job. Raises SettingsError where there is none, or nothing was judged yet."""
    store = open_store(url)
    fingerprint = read_claim(store, RERANK)
    if fingerprint is None:
        raise SettingsError([f"output.path: {store.url} is not an output of jobs.rerank (it has no {JOB_PATH})"])
    lease, planned = read_lease(store), read_plan(store)
    files = {Path(file.path).stem: file for file in list_files(store, JUDGMENTS_FOLDER)}
    units = [unit for unit in planned if unit.unit_id in files]
    if not units:
        raise SettingsError([f"output.path: nothing is judged yet at {store.url}. Run this again later."])
    committed = [files[unit.unit_id] for unit in units]
    finished = is_finished(store, planned)
    return JobOutput(
        store,
        units,
        planned,
        _name_version(committed),
        finished,
        lease,
        fingerprint,
        read_document(store, SETTINGS_PATH, dict[str, Any]) or {},
        read_summary(store) if finished else None,
        read_generations(store),
    )


def open_report_texts(path: Any, output: JobOutput) -> ReportTexts:
    """The texts in `path`, or where the job read them. Without them, a report still has judgments and traces."""
    path = path or output.settings.get("input", {}).get("path")
    if path is None:
        return ReportTexts(None, "this output does not record where its pairs were read; give input.path=…")
    try:
        store, files = open_input(InputConfig(path=path))
        check_planned_files(store, files, output.units)
    except (SettingsError, RefusedError) as error:
        return ReportTexts(None, str(error))
    return ReportTexts(UnitReader(store, output.fingerprint["columns"], ()))


def read_rows(output: JobOutput, units: Sequence[Unit], texts: UnitReader | None) -> Iterator[pa.Table]:
    """One table for each unit: REPORTED_COLUMNS, `place`, query, title and passage. Texts are null without a reader."""
    starts, start = dict[str, int](), 0
    for unit in output.planned:
        starts[unit.unit_id] = start
        start += unit.pairs

    def read(unit: Unit) -> pa.Table:
        table = read_judgments(output.store, unit, REPORTED_COLUMNS).replace_schema_metadata(None)
        first = starts[unit.unit_id]
        table = table.append_column(PLAN_PLACE, pa.array(range(first, first + len(table)), pa.int64()))
        if texts is None:
            return _without_texts(table)
        rows, _ = texts.read(unit)
        return _combine(join_texts(table, rows, f"{output.store.url}, unit {unit.unit_id}"))

    return read_ahead(read, units, FEW_UNITS_AHEAD)


def _name_version(files: Sequence[FileInfo]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(f"{file.path} {file.identity}\n".encode())
    return digest.hexdigest()


def _without_texts(table: pa.Table) -> pa.Table:
    nothing = pa.nulls(len(table), pa.string())
    for name in (QUERY, PASSAGE, TITLE):
        table = table.append_column(name, nothing)
    return table


def _combine(table: pa.Table) -> pa.Table:
    """The instruction as a part of the query, as in the prompt."""
    pairs = zip(table[QUERY].to_pylist(), table[INSTRUCTION].to_pylist(), strict=True)
    queries = [None if query is None else combine_query(query, instruction, None) for query, instruction in pairs]
    place = table.schema.get_field_index(QUERY)
    return table.set_column(place, QUERY, pa.array(queries, pa.string())).drop_columns([INSTRUCTION])
