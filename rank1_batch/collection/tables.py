"""Columns of Parquet files under any of their names."""

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
    """Our column → the file's, for those that a Parquet file has. Raises BadFileError without a required one."""
    schema = open_parquet(source.store, source.file.path).schema_arrow
    columns = {ours: next((name for name in given if name in schema.names), None) for ours, given in names.items()}
    missing = [f"{ours} ({' or '.join(names[ours])})" for ours in required if columns[ours] is None]
    if missing:
        raise BadFileError(f"{source.where}: no column for {', '.join(missing)}; it has {', '.join(schema.names)}")
    return {ours: name for ours, name in columns.items() if name is not None}


def find_good(
    source: FileSource, first_row: int, checks: Sequence[tuple[pa.Array, str]], broken: BrokenLines
) -> pa.Array:
    """Which rows of a batch no check is true for; each of the others is noted in `broken` with its reason."""
    good = pc.invert(checks[0][0])
    for bad, reason in checks:
        for place in pc.indices_nonzero(bad).to_pylist():
            broken.add(source.where, f"row {first_row + place + 1}", reason)
        good = pc.and_(good, pc.invert(bad))
    return good


def is_empty(strings: pa.Array) -> pa.Array:
    """Which of the strings are null or have no letter."""
    return pc.equal(strings, "").fill_null(fill_value=True)


def read_strings(source: FileSource, batch: pa.RecordBatch, name: str | None) -> pa.Array:
    """A column as text that is known to be UTF-8; whole numbers become text. Nulls where `name` is None."""
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
