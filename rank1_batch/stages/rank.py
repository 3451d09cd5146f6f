"""Committed files → `ranking/` and a TREC run. Reads score columns only, a bounded part at a time.

Queries are dealt into buckets on the driver's disk, since a query's rows may stand in any unit;
then each bucket is ranked in memory.
"""

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.buckets import deal_rows, read_bucket
from rank1_batch.manifest import judgments_path, to_parquet
from rank1_batch.parquet import read_tables
from rank1_batch.ranking import RANKING_SCHEMA, RUN_SCORE, rank_rows
from rank1_batch.schema import DOC_ID, QUERY_ID, RANK
from rank1_batch.storage import Store, delete_file, list_files, write_bytes, write_file
from rank1_batch.units import Unit

RANKING_FOLDER, RUN_PATH = "ranking", "run.trec.gz"
RUN_TAG = "rank1_batch"
RUN_COMPRESSION = 6
BUCKET_ROWS = 50_000
MOST_BUCKETS = 500
"""Each is an open file while rows are dealt; 10⁹ rows make buckets of 2·10⁶, some 200 MB in memory."""
COLUMNS = [name for name in RANKING_SCHEMA.names if name != RANK]
EMPTY = RANKING_SCHEMA.empty_table()


class Ranked(NamedTuple):
    """What was ranked. `duplicates` are rows whose query had the same doc_id already."""

    queries: int
    rows: int
    duplicates: int


def rank_units(store: Store, units: Sequence[Unit], bucket_rows: int = BUCKET_ROWS) -> Ranked:
    """Write the ranking of all units, and the run; in place of those of a smaller plan.

    About `bucket_rows` rows are in memory at a time, and a query's rows always are.
    """
    total = sum(unit.pairs for unit in units)
    buckets = min(-(-total // bucket_rows), MOST_BUCKETS)
    queries = rows = 0
    with tempfile.TemporaryDirectory(prefix="rank1_batch-") as folder:
        tables = read_tables(store, [judgments_path(unit.unit_id) for unit in units], COLUMNS)
        paths = deal_rows(tables, QUERY_ID, Path(folder), buckets)
        run_path = Path(folder) / RUN_PATH
        with run_path.open("wb") as run:
            for bucket, path in enumerate(paths):
                ranked = rank_rows(read_bucket(path) or EMPTY)
                write_bytes(store, f"{RANKING_FOLDER}/{_bucket_name(bucket)}", to_parquet(ranked.drop([RUN_SCORE])))
                # mtime=0: the same scores give the same bytes. Members of a gzip file may follow each other.
                run.write(gzip.compress("".join(_run_lines(ranked)).encode(), RUN_COMPRESSION, mtime=0))
                queries += pc.count_distinct(ranked[QUERY_ID]).as_py()
                rows += len(ranked)
        write_file(store, RUN_PATH, run_path)
    _delete_others(store, buckets)
    return Ranked(queries, rows, total - rows)


def _run_lines(ranked: pa.Table) -> Iterator[str]:
    columns = (ranked[name].to_pylist() for name in (QUERY_ID, DOC_ID, RANK, RUN_SCORE))
    for query_id, doc_id, rank, score in zip(*columns, strict=True):
        yield f"{query_id} Q0 {doc_id} {rank} {score!r} {RUN_TAG}\n"


def _bucket_name(bucket: int) -> str:
    return f"part-{bucket:05d}.parquet"


def _delete_others(store: Store, buckets: int) -> None:
    """Remove what an earlier ranking with more buckets left behind."""
    ours = {_bucket_name(bucket) for bucket in range(buckets)}
    for file in list_files(store, RANKING_FOLDER):
        if Path(file.path).name not in ours:
            delete_file(store, file.path)
