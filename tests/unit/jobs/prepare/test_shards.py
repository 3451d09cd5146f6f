import json
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.columns import FIRST_STAGE_KEY
from rank1_batch.jobs.prepare.shards import PAIR_SCHEMA, ROW_GROUP_ROWS, cut_shards, name_shard, write_shard
from rank1_batch.pairs.inputs import is_shard
from rank1_batch.pairs.layout import find_layout
from rank1_batch.storage.store import open_store

sizes = st.lists(st.integers(1, 9), max_size=12)
"""Candidates of each query."""


def pairs(sizes: list[int]) -> pa.Table:
    places = [(f"{query:03}", place) for query, size in enumerate(sizes) for place in range(1, size + 1)]
    columns: dict[str, list[object]] = {name: [f"{name} of {q}/{p}" for q, p in places] for name in PAIR_SCHEMA.names}
    columns |= {"query_id": [query for query, _ in places], "first_stage_rank": [place for _, place in places]}
    columns["first_stage_score"] = [1 / place for _, place in places]
    return pa.table(columns, schema=PAIR_SCHEMA)


@given(sizes, st.integers(1, 12), st.integers(1, 20))
def test_shards_hold_all_pairs_in_order_and_no_query_is_cut(sizes: list[int], shard_rows: int, batch_rows: int) -> None:
    table = pairs(sizes)
    shards = list(cut_shards(table.to_batches(max_chunksize=batch_rows), shard_rows))
    assert (pa.concat_tables(shards) if shards else table).equals(table)
    queries = [set(shard["query_id"].to_pylist()) for shard in shards]
    assert sum(map(len, queries)) == len(set().union(*queries))
    assert all(len(shard) <= shard_rows or len(held) == 1 for shard, held in zip(shards, queries, strict=True))


@given(sizes, st.integers(1, 12))
def test_how_pairs_arrive_makes_no_difference(sizes: list[int], shard_rows: int) -> None:
    cuts = [
        [len(shard) for shard in cut_shards(pairs(sizes).to_batches(max_chunksize=rows), shard_rows)]
        for rows in (1, 3, 1000)
    ]
    assert cuts[0] == cuts[1] == cuts[2]


@given(sizes, st.integers(1, 12))
def test_no_two_neighbours_would_fit_into_one_shard(sizes: list[int], shard_rows: int) -> None:
    """A shard is ended by the query that would not fit, not before."""
    shards = list(cut_shards(pairs(sizes).to_batches(), shard_rows))
    for shard, following in pairwise(shards):
        first_query = next(len(list(rows)) for _, rows in groupby(following["query_id"].to_pylist()))
        assert len(shard) + first_query > shard_rows


def test_a_shard_is_input_for_the_judge_and_says_where_it_came_from(tmp_path: Path) -> None:
    first_stage = {"run": [{"name": "bm25.trec", "sha256": "0a"}], "depth": 100}
    write_shard(open_store(str(tmp_path)), 7, pairs([ROW_GROUP_ROWS + 1]), first_stage)
    assert is_shard(name_shard(7))
    with pq.ParquetFile(tmp_path / name_shard(7)) as file:
        layout, problems = find_layout(file.schema_arrow, {}, [])
        assert json.loads(file.metadata.metadata[FIRST_STAGE_KEY]) == first_stage
        assert file.num_row_groups == 2
    assert problems == []
    assert {"title", "instruction", "first_stage_rank", "first_stage_score"} <= layout.columns.keys()


def test_the_same_pairs_are_the_same_bytes_and_a_file_that_has_them_is_left_alone(tmp_path: Path) -> None:
    """A job that judges a shard knows it by its time of change."""
    store, path = open_store(str(tmp_path)), tmp_path / name_shard(0)
    write_shard(store, 0, pairs([3, 2]), {})
    before, content = path.stat(), path.read_bytes()
    write_shard(store, 0, pairs([3, 2]), {})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_bytes(b"half")
    write_shard(store, 0, pairs([3, 2]), {})
    assert path.read_bytes() == content
