"""Ranks on all nodes of a cluster. Ray Data puts the rows into buckets, and each bucket is ranked on one node."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from rank1_batch.columns import QUERY_ID
from rank1_batch.errors import Rank1BatchError, ReplicaError
from rank1_batch.output.ranking import RANKED_COLUMNS, RankedBucket, Seen, rank_bucket
from rank1_batch.storage.buckets import find_buckets
from rank1_batch.storage.parquet import read_tables
from rank1_batch.storage.store import Store, open_store

BUCKET = "bucket"

FILES_A_TASK = 64

RANKED = pa.schema(
    [
        *((name, pa.int64()) for name in (BUCKET, "queries", "rows", "not_in_run")),
        ("run", pa.large_binary()),
        ("examples", pa.list_(pa.string())),
    ]
)


def rank_on_cluster(store: Store, paths: Sequence[str], buckets: int, seen: Seen) -> Iterator[RankedBucket]:
    """Does the same as `rank_here`, and writes the same bytes, on the cluster that this process is connected to.

    Raises the error that a node had with the store, and ReplicaError if the nodes failed.
    """
    url = store.url

    def read_scores(batch: Any) -> Iterator[pa.Table]:
        """The scores of some files, with the bucket of each row; `paths` holds one JSON list."""
        for table in read_tables(open_store(url), json.loads(str(batch["paths"][0])), RANKED_COLUMNS):
            plain = table.replace_schema_metadata(None)
            yield plain.append_column(BUCKET, pa.array(find_buckets(plain[QUERY_ID], buckets)))

    def rank_group(rows: Any) -> pa.Table:
        """All rows of a bucket → a RankedBucket as the only row."""
        ranked = rank_bucket(open_store(url), int(rows[BUCKET][0].as_py()), rows.select(RANKED_COLUMNS), seen)
        return pa.Table.from_pylist([ranked._asdict()], RANKED)

    tasks = [[*paths[start : start + FILES_A_TASK]] for start in range(0, len(paths), FILES_A_TASK)]
    items = ray.data.from_items([{"paths": json.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
    rows = items.map_batches(read_scores, batch_size=1)
    ranked = rows.groupby(BUCKET, num_partitions=buckets).map_groups(rank_group, batch_format="pyarrow")
    found: Any = iter(ranked.iter_rows())
    try:
        yield from (RankedBucket(**row) for row in found)
    except ray.exceptions.RayError as error:
        raise find_cause(error) from error
    finally:
        found.close()  # while Ray is there, as in cluster/stream.py


def find_cause(error: BaseException) -> Rank1BatchError:
    """The Rank1BatchError that Ray wrapped, or a ReplicaError with the first line of Ray's error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Rank1BatchError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return ReplicaError(f"ranking failed on the cluster's nodes: {str(error).strip().splitlines()[0]}")
