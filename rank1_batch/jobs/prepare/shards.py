"""Cuts pairs into shards, always between two queries, and writes them with the same bytes every time."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rank1_batch.columns import (
    DOC_ID,
    FIRST_STAGE_KEY,
    FIRST_STAGE_RANK,
    FIRST_STAGE_SCORE,
    INSTRUCTION,
    PASSAGE,
    QUERY,
    QUERY_ID,
    TITLE,
)
from rank1_batch.storage.store import Store, create_bytes, read_bytes, write_bytes

ROW_GROUP_ROWS = 1024
"""A unit reads every row group that holds some of its rows. Small groups mean that it reads little else."""

PAIR_SCHEMA = pa.schema(
    [
        (QUERY_ID, pa.string()),
        (QUERY, pa.string()),
        (INSTRUCTION, pa.string()),
        (DOC_ID, pa.string()),
        (TITLE, pa.string()),
        (PASSAGE, pa.string()),
        (FIRST_STAGE_RANK, pa.int64()),
        (FIRST_STAGE_SCORE, pa.float64()),
    ]
)


def cut_shards(batches: Iterable[pa.RecordBatch], shard_rows: int) -> Iterator[pa.Table]:
    """Tables of PAIR_SCHEMA of at most `shard_rows` rows, cut between two queries.

    `batches` must be sorted by query. Their sizes make no difference. A query of more than `shard_rows`
    rows gets a shard of its own.
    """
    held = PAIR_SCHEMA.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch]).select(PAIR_SCHEMA.names).cast(PAIR_SCHEMA)])
        while len(held) > shard_rows and (end := _find_end(held, shard_rows)):
            yield held.slice(0, end).combine_chunks()
            held = held.slice(end)
    if len(held):
        yield from _cut_rest(held.combine_chunks(), shard_rows)


def name_shard(number: int) -> str:
    """The file of a shard, counted from 0."""
    return f"pairs-{number:05}.parquet"


def write_shard(store: Store, number: int, shard: pa.Table, first_stage: Mapping[str, Any]) -> None:
    """Write a shard, with the run it came from in its metadata. An equal shard that exists is not written again."""
    buffer = io.BytesIO()
    table = shard.replace_schema_metadata({FIRST_STAGE_KEY: json.dumps(first_stage, sort_keys=True)})
    pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    data = buffer.getvalue()
    # A job that judges the shard identifies it by its time of change. So a shard from an interrupted run stays.
    if not create_bytes(store, name_shard(number), data) and read_bytes(store, name_shard(number)) != data:
        write_bytes(store, name_shard(number), data)


def _cut_rest(held: pa.Table, shard_rows: int) -> Iterator[pa.Table]:
    while len(held) > shard_rows and (end := _find_end(held, shard_rows)):
        yield held.slice(0, end)
        held = held.slice(end)
    yield held


def _find_end(held: pa.Table, shard_rows: int) -> int:
    """Where a shard can end: the last end of a query within `shard_rows`, else the first one after; 0 if none yet.

    The last query of `held` does not count, because more of its rows may come.
    """
    ends = pc.run_end_encode(held[QUERY_ID].combine_chunks()).run_ends.to_pylist()[:-1]
    within = [end for end in ends if end <= shard_rows]
    return int(within[-1] if within else ends[0] if ends else 0)
