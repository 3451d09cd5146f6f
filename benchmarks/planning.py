"""Planning many shards on S3: seconds to list them, read their footers and cut units.

    python -m benchmarks.planning [SHARDS]      default: 10000

It starts its own SeaweedFS server.
"""

import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.pairs.inputs import open_input
from rank1_batch.settings import InputConfig
from tests.support.seaweed import KEY, SECRET, run_seaweed
from tests.support.tiny_model import tiny_pairs


def main(argv: Sequence[str]) -> None:
    """Write the shards, plan them and print the time."""
    shards = int(argv[0]) if argv else 10_000
    with tempfile.TemporaryDirectory() as folder, run_seaweed(Path(folder)) as endpoint:
        os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        write_shards("s3://planning/pairs", shards)
        start = time.monotonic()
        config = InputConfig(path="s3://planning/pairs")
        store, files = open_input(config)
        listed = time.monotonic() - start
        plan = plan_units(store, files, config)
        seconds = time.monotonic() - start
    print(f"{len(files)} shards, {len(plan.units)} units: {seconds:.1f} s, {listed:.1f} s of them listing")


def write_shards(url: str, shards: int) -> None:
    """Shards of 40 pairs each."""
    import s3fs

    buffer = io.BytesIO()
    pq.write_table(tiny_pairs(40), buffer)
    fs = s3fs.S3FileSystem()
    fs.mkdir(url.split("/")[2])
    for first in range(0, shards, 500):
        numbers = range(first, min(first + 500, shards))
        fs.pipe({f"{url}/{number:06d}.parquet": buffer.getvalue() for number in numbers})


if __name__ == "__main__":
    main(sys.argv[1:])
