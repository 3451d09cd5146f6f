"""Rows dealt by query into files on this machine's disk: all rows of a query end up in one of them.

A query's rows may stand in any unit, and no more than one bucket is held at a time. Knows nothing
about what the rows mean.
"""

import contextlib
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

PARALLEL_READS = 8
DEAL_ROWS = 16_384

T = TypeVar("T")


def read_ahead(read: Callable[[T], pa.Table], items: Iterable[T]) -> Iterator[pa.Table]:
    """What `read` gives for each item, in order; a few are read ahead of their use, never more."""
    pending: deque[Future[pa.Table]] = deque()
    waiting = iter(items)
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        pending.extend(pool.submit(read, item) for item in islice(waiting, PARALLEL_READS))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(read, item) for item in islice(waiting, 1))


def deal_rows(tables: Iterable[pa.Table], key: str, folder: Path, buckets: int) -> list[Path]:
    """A file a bucket, of the rows whose `key` column belongs there; empty where there are none."""
    paths = [folder / str(bucket) for bucket in range(buckets)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(pa.OSFile(str(path), "wb")) for path in paths]
        writers: dict[int, pa.RecordBatchFileWriter] = {}
        for table in _join_small(tables):
            for bucket, rows in _split_rows(table, key, buckets):
                if bucket not in writers:
                    writers[bucket] = stack.enter_context(pa.ipc.new_file(files[bucket], table.schema))
                writers[bucket].write_table(rows)
    return paths


def _join_small(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about DEAL_ROWS: a bucket's share of a unit is too little to be written alone."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= DEAL_ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _split_rows(table: pa.Table, key: str, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each bucket that has any, in the order in which they stand."""
    owner = np.array([zlib.crc32((text or "").encode()) % buckets for text in table[key].to_pylist()], dtype=np.int64)
    ordered = table.take(pa.array(np.argsort(owner, kind="stable")))
    start = 0
    for bucket, rows in enumerate(np.bincount(owner, minlength=buckets).tolist()):
        if rows:
            yield bucket, ordered.slice(start, rows)
        start += rows


def read_bucket(path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """The rows of a bucket; None where it has none."""
    if not path.stat().st_size:
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
