"""_rank1/counted.parquet: the content of footers of committed files, so that few of them are read again.

An entry is valid while the identity of its file is the same. The footers of all other files are read, so this record
only saves reading.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.output.layout import COUNTED_PATH
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, read_bytes, write_bytes


class Counted(NamedTuple):
    """The file of a committed unit: its identity, and the counts and versions in its footer, as JSON."""

    unit_id: str
    identity: str
    counts: str
    versions: str


def read_counted(store: Store) -> dict[str, Counted]:
    """The record by unit id. Empty if there is none, or a damaged one."""
    data = read_bytes(store, COUNTED_PATH)
    if data is None:
        return {}
    try:
        table = pq.read_table(pa.BufferReader(data))
        columns = [table[name].to_pylist() for name in Counted._fields]
    except (pa.ArrowInvalid, KeyError):
        return {}
    return {row[0]: Counted(*row) for row in zip(*columns, strict=True)}


def write_counted(store: Store, files: Sequence[Counted]) -> None:
    """Write the record in place of an earlier one."""
    columns = {name: pa.array([getattr(file, name) for file in files], pa.string()) for name in Counted._fields}
    write_bytes(store, COUNTED_PATH, to_parquet(pa.table(columns)))
