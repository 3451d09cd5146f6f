"""_rank1/units.parquet and first_stages.json: the plan."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.output.layout import FIRST_STAGES_PATH, PLAN_PATH
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, read_bytes, write_bytes


def read_plan(store: Store) -> list[Unit]:
    """The units of the plan, in order; none if there is no plan yet."""
    data = read_bytes(store, PLAN_PATH)
    return [] if data is None else [Unit(**row) for row in pq.read_table(pa.BufferReader(data)).to_pylist()]


def write_plan(store: Store, units: Sequence[Unit]) -> None:
    """Put the whole plan, in place of an earlier and shorter one."""
    columns = {name: [getattr(unit, name) for unit in units] for name in Unit._fields}
    write_bytes(store, PLAN_PATH, to_parquet(pa.table(columns)))


def read_first_stages(store: Store) -> list[Any]:
    """Which runs the planned pairs came from, as far as their files say so (`jobs.prepare` writes it)."""
    return list(json.loads(read_bytes(store, FIRST_STAGES_PATH) or b"[]"))


def write_first_stages(store: Store, first_stages: Sequence[Any]) -> None:
    """Put them all, in place of fewer."""
    write_bytes(store, FIRST_STAGES_PATH, json.dumps(first_stages, indent=2).encode())
