"""Sorts rows by query into bucket files on this machine's disk. All rows of a query go into the same bucket.

A query's rows can come from any unit. Only one bucket at a time is held in memory. Knows nothing about
what the rows mean.
"""

import contextlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

DEAL_ROWS = 256
"""About how many rows a bucket gets at a time. With fewer, the metadata of each batch would outweigh the rows."""


def deal_rows(tables: Iterable[pa.Table], key: str, folder: Path, buckets: int) -> list[Path]:
    """The path of each bucket's file. The file exists only if some row's `key` belongs to the bucket."""
    paths = [folder / str(bucket) for bucket in range(buckets)]
    writers: dict[int, pa.RecordBatchFileWriter] = {}
    with contextlib.ExitStack() as stack:
        for table in _join_small(tables, DEAL_ROWS * buckets):
            for bucket, rows in _split_rows(table, key, buckets):
                if bucket not in writers:
                    file = stack.enter_context(pa.OSFile(str(paths[bucket]), "wb"))
                    writers[bucket] = stack.enter_context(pa.ipc.new_file(file, table.schema))
                writers[bucket].write_table(rows)
    return paths


def _join_small(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of at least `rows` rows, except for the last table."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table.replace_schema_metadata(None))
        if sum(map(len, held)) >= rows:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _split_rows(table: pa.Table, key: str, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each bucket that has any, in their original order."""
    owner = find_buckets(table[key], buckets)
    ordered = table.take(pa.array(np.argsort(owner, kind="stable")))
    start = 0
    for bucket, rows in enumerate(np.bincount(owner, minlength=buckets).tolist()):
        if rows:
            yield bucket, ordered.slice(start, rows)
        start += rows


def find_buckets(keys: pa.ChunkedArray, buckets: int) -> npt.NDArray[np.int64]:
    """The bucket of each row: the same for equal keys, in any table and on any day."""
    encoded = pc.fill_null(keys, "").combine_chunks().dictionary_encode()
    owners = [zlib.crc32(key.encode()) % buckets for key in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(owners, np.int64)[encoded.indices.to_numpy()])


def read_bucket(path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """The rows of a bucket, or None if it has none."""
    if not path.exists():
        return None
    with pa.memory_map(str(path)) as file:
        schema = pa.ipc.open_file(file).schema
        chosen = None if columns is None else [schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=chosen)
        return pa.ipc.open_file(file, options=options).read_all()


def read_buckets(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of each bucket that has rows, one bucket at a time."""
    for path in paths:
        table = read_bucket(path, columns)
        if table is not None:
            yield table
