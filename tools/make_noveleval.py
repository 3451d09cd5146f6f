"""Makes examples/noveleval from a copy of NovelEval: shards of pairs, and the qrels.

    python tools/make_noveleval.py SOURCE [--out DIR]

SOURCE holds `queries.parquet` (query_id, query), `corpus.parquet` (doc_id, title, text) and
`qrels.txt`: the files of NovelEval/ in https://github.com/sunnweiwei/RankGPT, as tables.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

EXAMPLE = Path(__file__).parent.parent / "examples" / "noveleval"

SCHEMA = pa.schema(
    {
        "query_id": pa.string(),
        "query": pa.string(),
        "doc_id": pa.string(),
        "passage": pa.string(),
        "first_stage_rank": pa.int32(),
        "first_stage_score": pa.float64(),
    }
)


class Shard(NamedTuple):
    """The queries of one file, `start` ≤ number < `stop`, and the rows of its row groups."""

    start: int
    stop: int
    row_group_rows: int


SHARDS = (
    Shard(0, 8, row_group_rows=160),
    # A query has 20 rows, so each second row group ends in the middle of a query.
    Shard(8, 15, row_group_rows=30),
    Shard(15, 21, row_group_rows=120),
)


def main() -> None:
    """Write the shards and the qrels."""
    parser = argparse.ArgumentParser(description="Make examples/noveleval.")
    parser.add_argument("source", type=Path, help="folder with NovelEval as tables")
    parser.add_argument("--out", type=Path, default=EXAMPLE, help="default: %(default)s")
    arguments = parser.parse_args()
    write_example(arguments.source, arguments.out)


def write_example(source: Path, out: Path) -> None:
    """The example's data files under `out`, from the tables in `source`."""
    (out / "pairs").mkdir(parents=True, exist_ok=True)
    pairs = read_pairs(source)
    for number, shard in enumerate(SHARDS):
        rows = [pair for pair in pairs if shard.start <= int(pair["query_id"]) < shard.stop]
        write_shard(out / "pairs" / f"part-{number}.parquet", rows, shard.row_group_rows)
    shutil.copyfile(source / "qrels.txt", out / "qrels.txt")
    (out / "qrels.txt").chmod(0o644)


def read_pairs(source: Path) -> list[dict[str, Any]]:
    """Every query with its 20 passages. Queries keep their order, and passages keep the order of Google's results."""
    queries = {row["query_id"]: row["query"] for row in pq.read_table(source / "queries.parquet").to_pylist()}
    documents = pq.read_table(source / "corpus.parquet").to_pylist()
    pairs = [build_pair(document, queries) for document in documents]
    return sorted(pairs, key=lambda pair: (int(pair["query_id"]), pair["first_stage_rank"]))


def build_pair(document: dict[str, str], queries: dict[str, str]) -> dict[str, Any]:
    """A row of `SCHEMA`. A document `3-0` is Google's first result for query 3."""
    query_id, position = document["doc_id"].split("-")
    rank = int(position) + 1
    return {
        "query_id": query_id,
        "query": queries[query_id],
        "doc_id": document["doc_id"],
        "passage": document["text"],
        "first_stage_rank": rank,
        "first_stage_score": 1 / rank,
    }


def write_shard(path: Path, rows: list[dict[str, Any]], row_group_rows: int) -> None:
    """Write one Parquet file, compressed with zstd."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, path, compression="zstd", row_group_size=row_group_rows)


if __name__ == "__main__":
    main()
