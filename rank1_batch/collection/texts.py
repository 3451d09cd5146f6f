"""Reads queries, passages and instructions from JSONL, TSV and Parquet, as record batches with one schema.

Files are read from start to end, in parts of bounded size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.collection.lines import BrokenLines, read_records
from rank1_batch.collection.records import JsonParser, Kind, Names, Row, TsvParser, find_names
from rank1_batch.collection.sources import DatasetSource, FileSource, Source, TableFormat, find_table_format
from rank1_batch.collection.tables import (
    PARQUET_ROWS,
    TABLE_BATCH_ROWS,
    find_columns,
    find_good,
    find_text_columns,
    is_empty,
    read_strings,
)
from rank1_batch.storage.parquet import read_batches

KEY, TEXT, DATASETS_EXTRA, NUMBER = "key", "text", "extra", "number"

TEXT_SCHEMA = pa.schema([(KEY, pa.string()), (TEXT, pa.string()), (DATASETS_EXTRA, pa.string()), (NUMBER, pa.int64())])
"""`number` counts records over all files, from 0. A text or extra that is empty or blank is null."""

BATCH_CHARS = 8 * 1024 * 1024


def read_texts(
    sources: Sequence[Source], kind: Kind, mapping: Mapping[str, str], broken: BrokenLines
) -> Iterator[pa.RecordBatch]:
    """All records of the sources (TEXT_SCHEMA). Broken lines are noted in `broken` and left out.

    Raises BadFileError if a file cannot be read, or lacks the columns.
    """
    number = 0
    for source in sources:
        for batch in _read_source(source, kind, find_names(kind, mapping), broken):
            numbers = pa.array(range(number, number + len(batch)), pa.int64())
            texts = [_blank_to_null(batch.column(name)) for name in (TEXT, DATASETS_EXTRA)]
            yield pa.record_batch([batch.column(KEY), *texts, numbers], schema=TEXT_SCHEMA)
            number += len(batch)


def _read_source(source: Source, kind: Kind, names: Names, broken: BrokenLines) -> Iterator[pa.RecordBatch]:
    if isinstance(source, DatasetSource):
        from rank1_batch.collection.ir_datasets import read_dataset

        return _gather(read_dataset(source.dataset, kind))
    form = find_table_format(source.file.path)
    if form is TableFormat.PARQUET:
        return _read_parquet(source, kind, names, broken)
    if form is TableFormat.TSV:
        tsv = TsvParser(names)
        return _gather(read_records(source.store, source.file.path, tsv.parse, broken, tsv.skip))
    return _gather(read_records(source.store, source.file.path, JsonParser(names).parse, broken))


def _gather(rows: Iterable[Row]) -> Iterator[pa.RecordBatch]:
    """Rows as batches of bounded size."""
    held: list[Row] = []
    chars = 0
    for row in rows:
        held.append(row)
        chars += len(row.text or "")
        if len(held) >= TABLE_BATCH_ROWS or chars >= BATCH_CHARS:
            yield _batch(held)
            held, chars = [], 0
    if held:
        yield _batch(held)


def _batch(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.record_batch(columns, names=[KEY, TEXT, DATASETS_EXTRA])


def _read_parquet(source: FileSource, kind: Kind, names: Names, broken: BrokenLines) -> Iterator[pa.RecordBatch]:
    found = find_columns(source, names, (kind.key, kind.text))
    others = [name for name in find_text_columns(source, names[kind.text]) if name not in found.values()]
    row = 0
    for batch in read_batches(source.store, source.file.path, [*found.values(), *others], PARQUET_ROWS):
        columns = [read_strings(source, batch, found.get(ours or "")) for ours in kind]
        for name in others:  # a null `passage` may stand beside a good `text`
            columns[1] = pc.coalesce(_blank_to_null(columns[1]), read_strings(source, batch, name))
        good = find_good(source, row, [(is_empty(columns[0]), f"the {kind.key} is null or empty")], broken)
        yield pa.record_batch(columns, names=[KEY, TEXT, DATASETS_EXTRA]).filter(good)
        row += len(batch)


def _blank_to_null(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), pa.scalar(None, pa.string()), column)
