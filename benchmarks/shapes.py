"""Input of extreme shapes through the whole job: thousands of files of one row, and one huge row group.

    python benchmarks/shapes.py files 10000
    python benchmarks/shapes.py group 1000000

The scripted engine with `policy=no_think`: the machinery, without a model.
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

REPLICA = "JudgeActor"


def main(argv: Sequence[str]) -> None:
    """Write the input, judge it, say how long it took and what it held in memory."""
    shape, count = argv[0], int(argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pairs").mkdir()
        {"files": write_files, "group": write_group}[shape](folder / "pairs", count)
        bytes_in = sum(file.stat().st_size for file in (folder / "pairs").iterdir())
        peak, seconds = run_job(folder)
        summary = json.loads((folder / "judged" / "summary.json").read_text())
    run = summary["this_run"]
    stages = ", ".join(f"{stage} {value:.0f} s" for stage, value in run["seconds"].items())
    print(f"{shape} {count}: {bytes_in / 1e6:.0f} MB in, {run['units']} units, {summary['rows']} rows")
    print(f"{seconds:.0f} s ({stages})")
    print(", ".join(f"{what} {megabytes:.0f} MB" for what, megabytes in peak.items()))


def write_files(folder: Path, count: int) -> None:
    """So many files of one row each."""
    for number in range(count):
        pq.write_table(make_pairs(number, number + 1), folder / f"{number:06d}.parquet")


def write_group(folder: Path, rows: int) -> None:
    """One file whose rows are one row group."""
    pq.write_table(make_pairs(0, rows), folder / "all.parquet", row_group_size=rows)


def make_pairs(first: int, end: int) -> pa.Table:
    """Pairs of 100 candidates a query, with passages of about 350 letters that do not repeat."""
    numbers = range(first, end)
    return pa.table(
        {
            "query_id": [f"q{row // 100}" for row in numbers],
            "query": [f"query {row // 100}" for row in numbers],
            "doc_id": [f"d{row}" for row in numbers],
            "passage": [" ".join(f"{word}{row * 7919 % 104729}" for word in "abcdefghij" * 5) for row in numbers],
        }
    )


def run_job(folder: Path) -> tuple[dict[str, float], float]:
    """Run the job: the largest resident memory of its driver and of its replica in MB, and its seconds."""
    start = time.monotonic()
    job = subprocess.Popen(
        [
            sys.executable, "-m", "jobs.rerank", "model=custom", "model.name=none", "engine=scripted",
            "policy=no_think", f"input.path={folder / 'pairs'}", f"output.path={folder / 'judged'}",
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    peak = {"driver": 0.0, "replica": 0.0}
    threading.Thread(target=_watch, args=(job.pid, peak), daemon=True).start()
    if job.wait():
        raise SystemExit(f"the job ended with {job.returncode}")
    return peak, time.monotonic() - start


def _watch(driver: int, peak: dict[str, float]) -> None:
    try:
        while True:
            family = psutil.Process(driver).children(recursive=True)
            replicas = [process for process in family if REPLICA in " ".join(process.cmdline())]
            for name, processes in (("driver", [psutil.Process(driver)]), ("replica", replicas)):
                peak[name] = max([peak[name], *(process.memory_info().rss / 1e6 for process in processes)])
            time.sleep(0.5)  # between two looks at their memory
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
