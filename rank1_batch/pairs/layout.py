"""Finds the columns of pairs in an input file, and turns Arrow tables into the core's records."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.columns import (
    CANDIDATE,
    CANDIDATES,
    DOC_ID,
    FIRST_STAGE_RANK,
    FIRST_STAGE_SCORE,
    INSTRUCTION,
    OPTIONAL,
    PASSAGE,
    QUERY,
    QUERY_ID,
    REQUIRED,
    ROW,
    TITLE,
)
from rank1_batch.judging.records import BadRow, Pair
from rank1_batch.storage.parquet import is_text

OF_CANDIDATE = (DOC_ID, PASSAGE, TITLE, FIRST_STAGE_SCORE, FIRST_STAGE_RANK)
"""Columns that belong to a candidate, not to its query, if a row holds a list of candidates."""

ALIASES = {PASSAGE: ("text",)}
"""Other names of a column, used if the input does not have the column's own name."""


class Layout(NamedTuple):
    """Where an input file holds its columns.

    `columns` maps our name to the file's, for the columns that exist. `candidates` is the column with
    the list of candidates, or None if every row is one pair. `keep` lists columns copied to the output.
    """

    columns: Mapping[str, str]
    candidates: str | None
    keep: tuple[str, ...]

    def file_columns(self) -> list[str]:
        """The top-level columns that must be read, each once."""
        own = [name for ours, name in self.columns.items() if not (self.candidates and ours in OF_CANDIDATE)]
        return list(dict.fromkeys([*own, *([self.candidates] if self.candidates else []), *self.keep]))


def find_layout(schema: pa.Schema, mapping: Mapping[str, str], keep: Sequence[str]) -> tuple[Layout, list[str]]:
    """The layout of a file, and what is wrong with it, one sentence for each problem.

    `mapping` is the user's `input.columns`: our name to the file's. Other columns are found by their
    own name or by an alias.
    """
    nested = _candidate_fields(schema, mapping.get(CANDIDATES, CANDIDATES))
    fields = {field.name: field.type for field in schema}
    columns: dict[str, str] = {}
    problems: list[str] = []
    for ours in (*REQUIRED, *OPTIONAL):
        place = nested if nested is not None and ours in OF_CANDIDATE else fields
        name = _find_column(ours, mapping, place)
        if name is not None:
            columns[ours] = name
            problems += _check_type(ours, name, place[name])
        elif ours in REQUIRED or ours in mapping:
            problems.append(_missing(ours, mapping.get(ours), place, inside=place is nested))
    if nested is None and CANDIDATES in mapping:
        problems.append(f"no column {mapping[CANDIDATES]!r} with lists of candidates (structs)")
    problems += [_missing(name, name, fields, inside=False) for name in keep if name not in fields]
    elsewhere = {
        ours for ours, name in columns.items() if name != ours or (nested is not None and ours in OF_CANDIDATE)
    }
    problems += [f"input.keep: {name} is also our name for another column" for name in keep if name in elsewhere]
    candidates = mapping.get(CANDIDATES, CANDIDATES) if nested is not None else None
    return Layout(columns, candidates, tuple(keep)), problems


def flatten(table: pa.Table, layout: Layout, first_row: int) -> pa.Table:
    """One row for each pair, with our column names, the kept columns, `row` and `candidate`.

    `row` is the row's number in the input file. `first_row` is the number of the table's first row.
    `candidate` is the place in the row's list of candidates, null if a row is one pair.
    """
    rows = pa.array(range(first_row, first_row + len(table)), pa.int64())
    if layout.candidates is None:
        columns = {ours: table[name] for ours, name in layout.columns.items()}
        columns |= {name: table[name] for name in layout.keep}
        return pa.table({**columns, ROW: rows, CANDIDATE: pa.nulls(len(table), pa.int32())})
    lists = table[layout.candidates].combine_chunks()
    parents, items = pc.list_parent_indices(lists), pc.list_flatten(lists)
    columns = {
        ours: pc.struct_field(items, name) if ours in OF_CANDIDATE else table[name].take(parents)
        for ours, name in layout.columns.items()
    }
    columns |= {name: table[name].take(parents) for name in layout.keep}
    return pa.table({**columns, ROW: rows.take(parents), CANDIDATE: _places(parents)})


def read_pairs(table: pa.Table) -> list[Pair | BadRow]:
    """A Pair for each row of a flattened table, or a BadRow if an id is null or a text is not UTF-8."""
    names = [name for name in (QUERY_ID, DOC_ID, QUERY, PASSAGE, TITLE, INSTRUCTION) if name in table.column_names]
    columns = {name: _decode(table[name]) for name in names}
    return [_pair(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def to_text(column: pa.ChunkedArray) -> pa.Array:
    """A column of any type as text, so that files with different types fit into one table."""
    return pa.array(as_text(column), pa.string())


def _candidate_fields(schema: pa.Schema, name: str) -> dict[str, pa.DataType] | None:
    """The fields of a candidate if the column is a list of structs, else None."""
    if name not in schema.names:
        return None
    kind = schema.field(name).type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return None
    return {field.name: field.type for field in kind.value_type}


def _find_column(ours: str, mapping: Mapping[str, str], fields: Mapping[str, pa.DataType]) -> str | None:
    names = (mapping[ours],) if ours in mapping else (ours, *ALIASES.get(ours, ()))
    return next((name for name in names if name in fields), None)


def _missing(ours: str, name: str | None, fields: Mapping[str, pa.DataType], *, inside: bool) -> str:
    place = "its candidates have" if inside else "it has"
    wanted = repr(ours) if name in (None, ours) else f"{name!r} (for {ours})"
    return f"no column {wanted}; {place} {', '.join(fields) or 'none'} (input.columns maps names)"


def _check_type(ours: str, name: str, kind: pa.DataType) -> list[str]:
    if ours == FIRST_STAGE_RANK:
        good, wanted = pa.types.is_integer(kind), "whole numbers"
    elif ours == FIRST_STAGE_SCORE:
        good, wanted = pa.types.is_floating(kind) or pa.types.is_integer(kind), "numbers"
    elif ours in (QUERY_ID, DOC_ID):
        good, wanted = is_text(kind) or pa.types.is_integer(kind), "text or whole numbers"
    else:
        good, wanted = is_text(kind), "text"
    return [] if good or pa.types.is_null(kind) else [f"column {name!r} is {kind}, but {ours} must be {wanted}"]


def _places(parents: pa.Array) -> pa.Array:
    """0, 1, 2, … for each parent. `parents` must be in ascending order."""
    places, last, place = [], None, 0
    for parent in parents.to_pylist():
        place = place + 1 if parent == last else 0
        last = parent
        places.append(place)
    return pa.array(places, pa.int32())


def _decode(column: pa.ChunkedArray) -> list[str | bytes | None]:
    """The text of each value, its bytes if they are not UTF-8, or None for null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    stored = column.cast(pa.large_binary())
    try:
        # Arrow checks UTF-8 only in this cast. to_pylist() would raise for the whole column.
        return list(stored.cast(pa.large_string()).to_pylist())
    except pa.ArrowInvalid:
        return [_text_or_bytes(value) for value in stored.to_pylist()]


def _text_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def as_text(column: pa.ChunkedArray) -> list[str | None]:
    """Like `_decode`, but bytes that are not UTF-8 are written in hexadecimal."""
    return [v.decode(errors="backslashreplace") if isinstance(v, bytes) else v for v in _decode(column)]


def _pair(row: dict[str, str | bytes | None]) -> Pair | BadRow:
    texts: dict[str, str | None] = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            return BadRow(f"the {name} is not valid UTF-8")
        if value is None and name in (QUERY_ID, DOC_ID):
            return BadRow(f"the {name} is null")
        texts[name] = value
    return Pair(texts[QUERY], texts[PASSAGE], texts.get(TITLE), texts.get(INSTRUCTION))
