"""Reads columns of Parquet files by any of their known names."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.collection.lines import BrokenLines
from rank1_batch.collection.records import Names
from rank1_batch.collection.sources import FileSource
from rank1_batch.errors import BadFileError
from rank1_batch.storage.parquet import is_text, open_parquet

TABLE_BATCH_ROWS, PARQUET_ROWS = 8192, 1024


def find_columns(source: FileSource, names: Names, required: Sequence[str]) -> dict[str, str]:
    """Our name → the file's, for the columns that a file has. Raises BadFileError if a required one is missing."""
    schema = open_parquet(source.store, source.file.path).schema_arrow
    columns = {ours: next((name for name in given if name in schema.names), None) for ours, given in names.items()}
    missing = [f"{ours} ({' or '.join(names[ours])})" for ours in required if columns[ours] is None]
    if missing:
        raise BadFileError(f"{source.where}: no column for {', '.join(missing)}; it has {', '.join(schema.names)}")
    return {ours: name for ours, name in columns.items() if name is not None}


def find_text_columns(source: FileSource, given: Sequence[str]) -> list[str]:
    """Those of the given names that are columns of text."""
    schema = open_parquet(source.store, source.file.path).schema_arrow
    return [name for name in given if name in schema.names and is_text(schema.field(name).type)]


def find_good(
    source: FileSource, first_row: int, checks: Sequence[tuple[pa.Array, str]], broken: BrokenLines
) -> pa.Array:
    """Marks the rows of a batch for which no check is true. The others are noted in `broken` with the reason."""
    good = pc.invert(checks[0][0])
    for bad, reason in checks:
        for place in pc.indices_nonzero(bad).to_pylist():
            broken.add(source.where, f"row {first_row + place + 1}", reason)
        good = pc.and_(good, pc.invert(bad))
    return good


def is_empty(strings: pa.Array) -> pa.Array:
    """Marks the strings that are null or empty."""
    return pc.equal(strings, "").fill_null(fill_value=True)


def read_strings(source: FileSource, batch: pa.RecordBatch, name: str | None) -> pa.Array:
    """A column as text, checked to be UTF-8. Whole numbers become text. All nulls if `name` is None."""
    if name is None:
        return pa.nulls(len(batch), pa.string())
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise BadFileError(f"{source.where}: column {name!r} is {column.type}, but must be text")
    try:
        strings = column.cast(pa.string())
        strings.validate(full=True)
    except pa.ArrowInvalid as error:
        raise BadFileError(f"{source.where}: column {name!r}: {error}") from error
    return strings
