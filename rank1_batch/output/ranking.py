"""Committed files → `ranking/` and a TREC run. Reads score columns only, a bounded part at a time.

A query's rows may stand in any unit, so queries are dealt into buckets, and each bucket is ranked
in memory: on this machine's disk, or by all nodes of a cluster (`stages/rank_cluster.py`).
"""

import gzip
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.columns import DOC_ID, QUERY_ID, RANK
from rank1_batch.output.layout import judgments_path
from rank1_batch.output.order import RANKING_SCHEMA, RUN_SCORE, rank_rows
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.buckets import deal_rows, read_bucket
from rank1_batch.storage.parquet import read_tables, to_parquet
from rank1_batch.storage.store import Store, delete_file, list_files, write_bytes, write_file

RANKING_FOLDER, RUN_PATH = "ranking", "run.trec.gz"

RUN_TAG = "rank1_batch"

RUN_COMPRESSION = 6

BUCKET_ROWS = 20_000

MOST_BUCKETS = 500
"""Each is an open file while rows are dealt here, and a partition of the shuffle on a cluster."""

COLUMNS = [name for name in RANKING_SCHEMA.names if name != RANK]


class RankedBucket(NamedTuple):
    """A bucket whose ranking is written. `run` is its part of the run, a member of a gzip file."""

    bucket: int
    queries: int
    rows: int
    run: bytes


RankBuckets = Callable[[Store, Sequence[str], int], Iterator[RankedBucket]]
"""Ranks the rows of files, given by their paths, in so many buckets; those with rows come back in any order."""


class Ranked(NamedTuple):
    """What was ranked. `duplicates` are rows whose query had the same doc_id already."""

    queries: int
    rows: int
    duplicates: int


def rank_here(store: Store, paths: Sequence[str], buckets: int) -> Iterator[RankedBucket]:
    """Rank on this machine: its disk holds the rows, and its memory a bucket of them."""
    with tempfile.TemporaryDirectory(prefix="rank1_batch-") as folder:
        places = deal_rows(read_tables(store, paths, COLUMNS), QUERY_ID, Path(folder), buckets)
        for bucket, place in enumerate(places):
            rows = read_bucket(place)
            if rows is not None:
                yield rank_bucket(store, bucket, rows)


def rank_bucket(store: Store, bucket: int, rows: pa.Table) -> RankedBucket:
    """Rank all rows of a bucket's queries and write their part of the ranking: the same bytes for the same rows."""
    ranked = rank_rows(rows)
    write_bytes(store, f"{RANKING_FOLDER}/{_bucket_name(bucket)}", to_parquet(ranked.drop([RUN_SCORE])))
    # mtime=0: the same scores give the same bytes. Members of a gzip file may follow each other.
    run = gzip.compress(_run_text(ranked), RUN_COMPRESSION, mtime=0)
    return RankedBucket(bucket, pc.count_distinct(ranked[QUERY_ID]).as_py(), len(ranked), run)


def rank_units(
    store: Store, units: Sequence[Unit], bucket_rows: int = BUCKET_ROWS, rank_buckets: RankBuckets = rank_here
) -> Ranked:
    """Write the ranking of all units, and the run; in place of those of a smaller plan.

    About `bucket_rows` rows are in memory at a time, and a query's rows always are.
    """
    total = sum(unit.pairs for unit in units)
    buckets = min(-(-total // bucket_rows), MOST_BUCKETS)
    queries = rows = 0
    with tempfile.TemporaryDirectory(prefix="rank1_batch-") as folder:
        members: dict[int, Path] = {}
        for ranked in rank_buckets(store, [judgments_path(unit.unit_id) for unit in units], buckets):
            members[ranked.bucket] = Path(folder) / str(ranked.bucket)
            members[ranked.bucket].write_bytes(ranked.run)
            queries += ranked.queries
            rows += ranked.rows
        write_file(store, RUN_PATH, _join_files([members[bucket] for bucket in sorted(members)], Path(folder)))
    _delete_others(store, members)
    return Ranked(queries, rows, total - rows)


def _join_files(paths: Sequence[Path], folder: Path) -> Path:
    """One file of all, in their order; they are gone."""
    joined = folder / RUN_PATH
    with joined.open("wb") as target:
        for path in paths:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target)
            path.unlink()
    return joined


def _run_text(ranked: pa.Table) -> bytes:
    """The lines of a TREC run: query_id, Q0, doc_id, rank, score and tag, with a blank between two of them."""
    rank, score = (ranked[name].cast(pa.string()) for name in (RANK, RUN_SCORE))
    columns = (ranked[QUERY_ID], "Q0", ranked[DOC_ID], rank, score, f"{RUN_TAG}\n", " ")
    lines = pc.binary_join_element_wise(*columns).combine_chunks()
    (text,) = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")
    return bytes(text.as_buffer())


def _bucket_name(bucket: int) -> str:
    return f"part-{bucket:05d}.parquet"


def _delete_others(store: Store, buckets: Collection[int]) -> None:
    """Remove what an earlier ranking with other buckets left behind."""
    ours = {_bucket_name(bucket) for bucket in buckets}
    for file in list_files(store, RANKING_FOLDER):
        if Path(file.path).name not in ours:
            delete_file(store, file.path)
