"""The machinery without a model: rows a second and the driver's memory, by the number of rows.

python benchmarks/machinery.py [ROWS …]     default: 10000 100000 1000000
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

SHARD_ROWS = 100_000


def main(argv: Sequence[str]) -> None:
    """A line for each number of rows."""
    print("| rows | units | judge s | rows/s | driver's peak MB | all s |")
    print("|---|---|---|---|---|---|")
    for rows in [int(text) for text in argv] or [10_000, 100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            write_pairs(Path(folder) / "pairs", rows)
            print(measure(Path(folder), rows), flush=True)


def write_pairs(folder: Path, rows: int) -> None:
    """Shards of pairs, 100 candidates a query, passages of 60 letters."""
    folder.mkdir()
    for start in range(0, rows, SHARD_ROWS):
        numbers = range(start, min(start + SHARD_ROWS, rows))
        table = pa.table(
            {
                "query_id": [f"q{row // 100}" for row in numbers],
                "query": [f"query {row // 100}" for row in numbers],
                "doc_id": [f"d{row}" for row in numbers],
                "passage": [f"passage number {row} of this benchmark, sixty letters long" for row in numbers],
            }
        )
        pq.write_table(table, folder / f"{start}.parquet", row_group_size=20_000)


def measure(folder: Path, rows: int) -> str:
    """Run the job with the scripted engine; a line of the table."""
    start = time.monotonic()
    job = subprocess.Popen(
        [
            sys.executable, "-m", "jobs.rerank", "model=custom", "model.name=none", "engine=scripted",
            "policy=no_think", f"input.path={folder / 'pairs'}", f"output.path={folder / 'judged'}",
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    peak = _Peak(job.pid)
    if job.wait():
        raise SystemExit(f"the job ended with {job.returncode}")
    seconds = time.monotonic() - start
    run = json.loads((folder / "judged" / "summary.json").read_text())["this_run"]
    return (
        f"| {rows} | {run['units']} | {run['seconds']['judge']:.1f} | {run['rows_per_s']:.0f} "
        f"| {peak.bytes / 1e6:.0f} | {seconds:.0f} |"
    )


class _Peak:
    """The largest resident memory of a process, watched by a thread until it ends."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._process = psutil.Process(pid)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        try:
            while True:
                self.bytes = max(self.bytes, self._process.memory_info().rss)
                time.sleep(0.05)  # between two looks at its memory
        except psutil.NoSuchProcess:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
