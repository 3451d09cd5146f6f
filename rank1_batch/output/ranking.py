"""Committed files → `ranking/` and a TREC run. Reads score columns only, a bounded part at a time.

A query's rows may stand in any unit, so queries are dealt into buckets, and each bucket is ranked
in memory: on this machine's disk, or by all nodes of a cluster (`cluster/rank.py`).
"""

import gzip
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.columns import DOC_ID, QUERY_ID, RANK
from rank1_batch.errors import BadFileError, RefusedError
from rank1_batch.output.fingerprint import find_judge, tag_run
from rank1_batch.output.layout import JOB_PATH, judgments_path
from rank1_batch.output.order import RANKING_SCHEMA, RUN_SCORE, rank_rows
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.buckets import deal_rows, read_bucket
from rank1_batch.storage.documents import read_document
from rank1_batch.storage.parquet import read_footers, read_tables, to_parquet
from rank1_batch.storage.scratch import scratch_folder
from rank1_batch.storage.store import Store, delete_file, list_files, put_over, stat_file, write_file

RANKING_FOLDER, RUN_PATH = "ranking", "run.trec.gz"

RUN_COMPRESSION = 6

BUCKET_ROWS = 20_000

ONE_REQUEST_BYTES = 64 << 20
"""A run up to this size is written by one request. s3fs (2026.9) sends files over 100 MB in parts."""

MOST_BUCKETS = 500
"""Each is an open file while rows are dealt here, and a partition of the shuffle on a cluster."""

NO_RUN_ID = r"^$|[\s\v\p{Z}\x00\x1c-\x1f\x{85}]"
"""Ids that no line of a TREC run can hold. trec_eval splits at ASCII blanks, Python's readers at all of Unicode's."""

NO_RUN_QUERY_ID = r"^[#\x{feff}]"
"""Beginnings of a query_id that make its line a comment, or are lost as a byte order mark."""

EXAMPLE_ROWS = 3

RANKED_COLUMNS = [name for name in RANKING_SCHEMA.names if name != RANK]


class RankedBucket(NamedTuple):
    """A bucket whose ranking is written. `run` is its part of the run, a member of a gzip file.

    `not_in_run` counts rows whose ids a TREC run cannot hold; `examples` are the ids of some of them.
    """

    bucket: int
    queries: int
    rows: int
    run: bytes
    not_in_run: int = 0
    examples: Sequence[str] = ()


Seen = Mapping[str, str]
"""Identities of the files that a run may replace, by path. It saw them while it held the output."""

RankBuckets = Callable[[Store, Sequence[str], int, Seen], Iterator[RankedBucket]]
"""Ranks the rows of files, given by their paths, in so many buckets. Those with rows come back in any order."""


class Ranked(NamedTuple):
    """The result of a ranking. `duplicates` counts rows whose query has the same doc_id already.

    `not_in_run` and its `examples` are those of all buckets (RankedBucket).
    """

    queries: int
    rows: int
    duplicates: int
    not_in_run: int = 0
    examples: tuple[str, ...] = ()


def rank_here(store: Store, paths: Sequence[str], buckets: int, seen: Seen) -> Iterator[RankedBucket]:
    """Rank on this machine. Its disk holds the rows, and its memory one bucket of them."""
    with scratch_folder() as folder:
        places = deal_rows(read_tables(store, paths, RANKED_COLUMNS), QUERY_ID, folder, buckets)
        for bucket, place in enumerate(places):
            rows = read_bucket(place)
            if rows is not None:
                yield rank_bucket(store, bucket, rows, seen)


def rank_bucket(store: Store, bucket: int, rows: pa.Table, seen: Seen) -> RankedBucket:
    """Rank all rows of a bucket's queries and write their part of the ranking: the same bytes for the same rows."""
    ranked = rank_rows(rows)
    put_over(store, f"{RANKING_FOLDER}/{_bucket_name(bucket)}", to_parquet(ranked.drop([RUN_SCORE])), seen)
    held, others = _split_by_ids(ranked)
    tag = tag_run(find_judge(read_document(store, JOB_PATH, dict[str, Any]) or {}))
    # mtime=0: the same scores give the same bytes. Members of a gzip file may follow each other.
    run = gzip.compress(_run_text(held, tag), RUN_COMPRESSION, mtime=0)
    queries = pc.count_distinct(ranked[QUERY_ID]).as_py()
    return RankedBucket(bucket, queries, len(ranked), run, len(others), _show_ids(others))


def rank_units(
    store: Store,
    units: Sequence[Unit],
    bucket_rows: int = BUCKET_ROWS,
    rank_buckets: RankBuckets = rank_here,
    seen: Seen | None = None,
) -> Ranked:
    """Write the ranking of all units, and the run, in place of the files that were `seen` there (None: looks now).

    Raises RefusedError where another run has replaced one since.

    About `bucket_rows` rows are in memory at a time, and a query's rows always are.
    """
    total = sum(unit.pairs for unit in units)
    buckets = min(-(-total // bucket_rows), MOST_BUCKETS)
    queries = rows = not_in_run = 0
    examples: list[str] = []
    seen = see_ranking(store) if seen is None else seen
    with scratch_folder() as folder:
        members: dict[int, Path] = {}
        for ranked in rank_buckets(store, [judgments_path(unit.unit_id) for unit in units], buckets, seen):
            members[ranked.bucket] = folder / str(ranked.bucket)
            members[ranked.bucket].write_bytes(ranked.run)
            queries += ranked.queries
            rows += ranked.rows
            not_in_run += ranked.not_in_run
            examples += ranked.examples
        _put_run(store, _join_files([members[bucket] for bucket in sorted(members)], folder), seen)
    _delete_others(store, members, seen)
    return Ranked(queries, rows, total - rows, not_in_run, tuple(sorted(examples)[:EXAMPLE_ROWS]))


def is_ranked(store: Store, rows: int) -> bool:
    """Whether there is a run, and a ranking with this many rows. Reads footers only."""
    files = [file for file in list_files(store, RANKING_FOLDER) if file.path.endswith(".parquet")]
    found = sum(0 if isinstance(footer, BadFileError) else footer.num_rows for footer in read_footers(store, files))
    return found == rows and stat_file(store, RUN_PATH) is not None


def see_ranking(store: Store) -> dict[str, str]:
    """Identities of the files that a ranking replaces, by path."""
    run = stat_file(store, RUN_PATH)
    return {file.path: file.identity for file in [*list_files(store, RANKING_FOLDER), *([run] if run else [])]}


def _put_run(store: Store, run: Path, seen: Seen) -> None:
    """Put the run. One too large for a single request is compared right before, since parts are not put in one step."""
    if run.stat().st_size <= ONE_REQUEST_BYTES:
        put_over(store, RUN_PATH, run.read_bytes(), seen)
        return
    found = stat_file(store, RUN_PATH)
    if (found.identity if found else None) != seen.get(RUN_PATH):
        raise RefusedError(f"{store.url}/{RUN_PATH}: another run wrote this file meanwhile. This run stops.")
    write_file(store, RUN_PATH, run)


def _join_files(paths: Sequence[Path], folder: Path) -> Path:
    """Join the files in their order, and delete them."""
    joined = folder / RUN_PATH
    with joined.open("wb") as target:
        for path in paths:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target)
            path.unlink()
    return joined


def _split_by_ids(ranked: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows whose ids a TREC run can hold, and the others."""
    bad = [pc.match_substring_regex(ranked[name], NO_RUN_ID) for name in (QUERY_ID, DOC_ID)]
    bad.append(pc.match_substring_regex(ranked[QUERY_ID], NO_RUN_QUERY_ID))
    mask = pc.or_(pc.or_(bad[0], bad[1]), bad[2])
    return ranked.filter(pc.invert(mask)), ranked.filter(mask)


def _show_ids(rows: pa.Table) -> list[str]:
    """The ids of the first rows, for people."""
    first = rows.slice(0, EXAMPLE_ROWS).select([QUERY_ID, DOC_ID]).to_pylist()
    return [f"{row[QUERY_ID]!r}/{row[DOC_ID]!r}" for row in first]


def _run_text(ranked: pa.Table, tag: str) -> bytes:
    """The lines of a TREC run: query_id, Q0, doc_id, rank, score and tag, with a blank between two of them."""
    rank, score = (ranked[name].cast(pa.string()) for name in (RANK, RUN_SCORE))
    columns = (ranked[QUERY_ID], "Q0", ranked[DOC_ID], rank, score, f"{tag}\n", " ")
    lines = pc.binary_join_element_wise(*columns).combine_chunks()
    (text,) = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")
    return bytes(text.as_buffer())


def _bucket_name(bucket: int) -> str:
    return f"part-{bucket:05d}.parquet"


def _delete_others(store: Store, buckets: Collection[int], seen: Seen) -> None:
    """Delete files of an earlier ranking that had other buckets. A file that was not seen is of a later one."""
    ours = {_bucket_name(bucket) for bucket in buckets}
    for file in list_files(store, RANKING_FOLDER):
        if Path(file.path).name not in ours and seen.get(file.path) == file.identity:
            delete_file(store, file.path)
