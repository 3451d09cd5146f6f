"""Judging rows again: an SQL condition selects them, and their new judgments replace the old ones.

DuckDB evaluates the condition. Knows nothing about Ray or engines.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from rank1_batch.errors import BadFileError, RefusedError, SettingsError
from rank1_batch.judging.records import Finish, Judgment
from rank1_batch.output.commits import read_generation
from rank1_batch.output.layout import CHANGES_KEY, GENERATIONS_PATH, JUDGMENTS_FOLDER, judgments_path
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.parquet import read_footers
from rank1_batch.storage.store import Store, list_files

PLACE = "rank1_batch_place"
"""A temporary column for the number of a row."""


class Redo(NamedTuple):
    """Rows that `where` selects are judged again, as this generation of their units (from 1)."""

    generation: int
    where: str


class Changes(NamedTuple):
    """What a redo changed: rows judged again, rows that are complete now, and rows with another label.

    `trace_tokens` are the new tokens. Reasoning that continued keeps the tokens that it had.
    """

    rows: int = 0
    completed: int = 0
    verdicts: int = 0
    trace_tokens: int = 0


def count_changes(before: Sequence[Judgment], after: Sequence[Judgment], places: Sequence[int]) -> Changes:
    """What changed in a unit whose rows at these places were judged again."""
    pairs = [(before[place], after[place]) for place in places]
    continued = [new.trace_tokens - (old.trace_tokens if old.finish is Finish.CLOSED else 0) for old, new in pairs]
    return Changes(
        rows=len(pairs),
        completed=sum(old.finish is not Finish.COMPLETE and new.finish is Finish.COMPLETE for old, new in pairs),
        verdicts=sum(old.label is not new.label for old, new in pairs),
        trace_tokens=sum(max(0, tokens) for tokens in continued),
    )


def read_changes(output: Store, units: Sequence[Unit], generation: int) -> Changes:
    """What a redo changed in all units, from the footers of their files. The redo may have taken several runs."""
    wanted = {judgments_path(unit.unit_id) for unit in units}
    files = [file for file in list_files(output, JUDGMENTS_FOLDER) if file.path in wanted]
    found = [
        Changes(*json.loads(footer.metadata[CHANGES_KEY]))
        for footer in read_footers(output, files)
        if not isinstance(footer, BadFileError)
        and CHANGES_KEY in footer.metadata
        and read_generation(footer.metadata) == generation
    ]
    return Changes(*(sum(numbers) for numbers in zip(*found, strict=True))) if found else Changes()


def list_columns(where: str, schema: pa.Schema) -> list[str]:
    """The columns that a condition uses. Raises SettingsError if it is no condition over the schema's columns."""
    try:
        _select(schema.empty_table(), where, "count(*)").fetchall()
    except duckdb.Error as error:
        reason = str(error).split("\n")[0]
        raise SettingsError([f"where: {where!r} is no condition on {', '.join(schema.names)}: {reason}"]) from error
    return [name for name in schema.names if not _holds_without(where, schema, name)]


def select_rows(judgments: pa.Table, where: str) -> list[int]:
    """The numbers of the rows that a condition selects, ascending."""
    placed = judgments.append_column(PLACE, pa.array(range(len(judgments)), pa.int64()))
    return [place for (place,) in _select(placed, where, PLACE).order(PLACE).fetchall()]


def _holds_without(where: str, schema: pa.Schema, name: str) -> bool:
    try:
        _select(schema.remove(schema.get_field_index(name)).empty_table(), where, "count(*)")
    except duckdb.Error:
        return False
    return True


def _select(table: pa.Table, where: str, what: str) -> Any:
    connection = duckdb.connect(config={"enable_external_access": False, "threads": 1})
    return connection.from_arrow(table).filter(where).project(what)


def read_generations(output: Store) -> list[dict[str, Any]]:
    """Every redo so far, the first one first."""
    return read_document(output, GENERATIONS_PATH, list[dict[str, Any]]) or []


def find_unfinished(generations: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The redo that was started and is not finished. None if there is none."""
    last = generations[-1] if generations else None
    return last if last is not None and last["finished_at"] is None else None


def check_redo_finished(output: Store) -> None:
    """Raises RefusedError if a redo was started and is not finished."""
    if last := find_unfinished(read_generations(output)):
        raise RefusedError(
            f"{output.url}: a redo was started and is not finished: where={last['where']}, policy {last['policy']}.\n"
            "Run the same jobs.redo command again. It continues."
        )


def write_generations(
    output: Store, generations: Sequence[dict[str, Any]], seen: Mapping[str, str] | None = None
) -> None:
    """Write the whole list in place of a shorter one. If `seen` is given, only in place of the list that was seen."""
    write_document(output, GENERATIONS_PATH, generations, seen)
