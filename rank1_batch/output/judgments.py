"""The table in judgments/<unit>.parquet: builds it, reads it, and puts the texts beside it."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rank1_batch.columns import (
    ANSWER_LOGPROBS,
    CANDIDATE,
    DOC_ID,
    FALSE_LOGPROB,
    FINISH,
    FIRST_STAGE_RANK,
    FIRST_STAGE_SCORE,
    INSTRUCTION,
    PASSAGE,
    QUERY,
    QUERY_ID,
    ROW,
    TITLE,
    TRUE_LOGPROB,
    UNIT_ID,
)
from rank1_batch.errors import BadFileError
from rank1_batch.judging.records import Finish, Judgment, Pair
from rank1_batch.output.layout import judgments_path
from rank1_batch.pairs.layout import as_text, read_pairs
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import open_parquet, read_or_blame
from rank1_batch.storage.store import Store

TEXTS = (QUERY, PASSAGE, TITLE, INSTRUCTION)

NO_TEXT = Pair(None, None)

JUDGMENT_TYPES = {
    "score": pa.float64(),
    "true_logprob": pa.float64(),
    "false_logprob": pa.float64(),
    "label": pa.bool_(),
    "finish": pa.string(),
    "trace": pa.string(),
    "prompt_tokens": pa.int32(),
    "trace_tokens": pa.int32(),
    "passage_truncated": pa.bool_(),
    "error": pa.string(),
    "answer_logprobs": pa.list_(pa.float64()),
    "grade": pa.float64(),
}
"""The columns of a Judgment, in its order."""


def read_judgments(output: Store, unit: Unit, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a unit's committed judgments (all of them by default), in the order of its rows."""
    path = judgments_path(unit.unit_id)
    return read_or_blame(output, path, lambda: open_parquet(output, path).read(columns and list(columns)))


def join_texts(judgments: pa.Table, rows: pa.Table, where: str) -> pa.Table:
    """A unit's judgments with the text that was judged beside them: query, passage, title, instruction.

    `judgments` must hold `row` and `candidate`. `rows` comes from `UnitReader.read`. Text is null if the input has
    none, and in rows that are not valid pairs (`layout.read_pairs`). Raises BadFileError with `where` if the rows are
    not those that were judged.
    """
    if any(judgments[name].to_pylist() != rows[name].to_pylist() for name in (ROW, CANDIDATE)):
        raise BadFileError(f"{where}: the rows of the input are not those that were judged")
    pairs = [pair if isinstance(pair, Pair) else NO_TEXT for pair in read_pairs(rows)]
    columns = {name: pa.array([getattr(pair, name) for pair in pairs], pa.string()) for name in TEXTS}
    return pa.table({**{name: judgments[name] for name in judgments.column_names}, **columns})


def build_judgments(table: pa.Table, judgments: Sequence[Judgment], unit_id: str, keep: Sequence[str]) -> pa.Table:
    """The output of one unit: a row for each row of the flattened `table`, in the same order."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        QUERY_ID: pa.array(as_text(table[QUERY_ID]), pa.string()),
        DOC_ID: pa.array(as_text(table[DOC_ID]), pa.string()),
    }
    for place, (name, kind) in enumerate(JUDGMENT_TYPES.items()):
        columns[name] = pa.array([judgment[place] for judgment in judgments], kind)
    columns[UNIT_ID] = pa.array([unit_id] * len(table), pa.string())
    columns[ROW] = table[ROW]
    columns[CANDIDATE] = table[CANDIDATE]
    columns[FIRST_STAGE_RANK] = _optional(table, FIRST_STAGE_RANK, pa.int64())
    columns[FIRST_STAGE_SCORE] = _optional(table, FIRST_STAGE_SCORE, pa.float64())
    return pa.table({**columns, **{name: table[name] for name in keep}})


def parse_judgments(table: pa.Table) -> list[Judgment]:
    """The judgments of a committed unit, as they were when `build_judgments` wrote them."""
    names = [name for name in JUDGMENT_TYPES if name in table.column_names]
    columns = [table[name].to_pylist() for name in names]
    return [_parse_row(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _parse_row(row: dict[str, Any]) -> Judgment:
    logprobs = row.get(ANSWER_LOGPROBS)
    if logprobs is None and row[TRUE_LOGPROB] is not None:  # a file of an earlier version
        logprobs = (row[TRUE_LOGPROB], row[FALSE_LOGPROB])
    return Judgment(**{**row, FINISH: Finish(row[FINISH]), ANSWER_LOGPROBS: logprobs and tuple(logprobs)})


def _optional(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    return table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)
