"""Committed files → `ranking/` and a TREC run. Reads score columns only, a bounded part at a time.

Queries are dealt into buckets on the driver's disk, since a query's rows may stand in any unit;
then each bucket is ranked in memory.
"""

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.buckets import deal_rows, read_bucket
from rank1_batch.manifest import judgments_path, to_parquet
from rank1_batch.parquet import read_tables
from rank1_batch.ranking import Candidate, falling_scores, rank_candidates
from rank1_batch.schema import DOC_ID, FIRST_STAGE_RANK, FIRST_STAGE_SCORE, QUERY_ID, RANK, SCORE
from rank1_batch.storage import Store, delete_file, list_files, write_bytes, write_file
from rank1_batch.units import Unit

RANKING_FOLDER, RUN_PATH = "ranking", "run.trec.gz"
RUN_TAG = "rank1_batch"
RUN_COMPRESSION = 6
BUCKET_ROWS = 250_000
COLUMNS = [QUERY_ID, DOC_ID, SCORE, FIRST_STAGE_RANK, FIRST_STAGE_SCORE]
SCHEMA = pa.schema(
    [
        (QUERY_ID, pa.string()),
        (DOC_ID, pa.string()),
        (RANK, pa.int32()),
        (SCORE, pa.float64()),
        (FIRST_STAGE_RANK, pa.int64()),
        (FIRST_STAGE_SCORE, pa.float64()),
    ]
)


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
    buckets = -(-total // bucket_rows)
    queries = rows = 0
    with tempfile.TemporaryDirectory(prefix="rank1_batch-") as folder:
        tables = read_tables(store, [judgments_path(unit.unit_id) for unit in units], COLUMNS)
        paths = deal_rows(tables, QUERY_ID, Path(folder), buckets)
        run_path = Path(folder) / RUN_PATH
        with run_path.open("wb") as run:
            for bucket, path in enumerate(paths):
                ranked = list(_rank_bucket(path))
                write_bytes(store, f"{RANKING_FOLDER}/{_bucket_name(bucket)}", to_parquet(_ranking_table(ranked)))
                # mtime=0: the same scores give the same bytes. Members of a gzip file may follow each other.
                run.write(gzip.compress("".join(_run_lines(ranked)).encode(), RUN_COMPRESSION, mtime=0))
                queries += len(ranked)
                rows += sum(len(candidates) for _, candidates in ranked)
        write_file(store, RUN_PATH, run_path)
    _delete_others(store, buckets)
    return Ranked(queries, rows, total - rows)


def _rank_bucket(path: Path) -> Iterator[tuple[str, list[Candidate]]]:
    """Each query of a bucket with its candidates from the best, by query_id."""
    table = read_bucket(path)
    if table is None:
        return
    queries: dict[str, list[Candidate]] = {}
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    for query_id, doc_id, score, rank, first_score in rows:
        queries.setdefault(query_id or "", []).append(Candidate(doc_id or "", score, rank, first_score))
    for query_id in sorted(queries):
        yield query_id, rank_candidates(queries[query_id])


def _ranking_table(ranked: Sequence[tuple[str, list[Candidate]]]) -> pa.Table:
    rows: list[tuple[Any, ...]] = [
        (query_id, candidate.doc_id, place, *candidate[1:])
        for query_id, candidates in ranked
        for place, candidate in enumerate(candidates, 1)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def _run_lines(ranked: Sequence[tuple[str, list[Candidate]]]) -> Iterator[str]:
    for query_id, candidates in ranked:
        scores = falling_scores(candidates)
        for place, (candidate, score) in enumerate(zip(candidates, scores, strict=True), 1):
            yield f"{query_id} Q0 {candidate.doc_id} {place} {score!r} {RUN_TAG}\n"


def _bucket_name(bucket: int) -> str:
    return f"part-{bucket:05d}.parquet"


def _delete_others(store: Store, buckets: int) -> None:
    """Remove what an earlier ranking with more buckets left behind."""
    ours = {_bucket_name(bucket) for bucket in range(buckets)}
    for file in list_files(store, RANKING_FOLDER):
        if Path(file.path).name not in ours:
            delete_file(store, file.path)
