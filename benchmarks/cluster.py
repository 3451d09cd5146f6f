"""Many replicas without a model: the time of a job against the least time that its rows need.

    python -m benchmarks.cluster [REPLICAS …]      default: 4 16 64

Rows take a log-normal time, and 3 in 100 take 25 times the mean. A replica is a process of about 200 MB that sleeps
most of the time. On few cores the replicas start one after another, so the time of a job is counted from their mean
start. The least time is found by simulation: all slots take rows from one queue, and a long row may come last.
"""

import datetime as dt
import heapq
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measuring import Usage, run_job, write_pairs
from rank1_batch.engines.scripted import LONG, SPREAD
from rank1_batch.replica.feeder import SLOTS_PER_SEQUENCE

SEQUENCES, ROWS_A_SLOT = 16, 20
SECONDS_A_ROW, LONG_ROWS = 2.0, 0.03


def main(argv: Sequence[str]) -> None:
    """Print a line for each number of replicas."""
    print("| replicas | that worked | rows | s at the least | s | ratio | driver's peak MB |")
    print("|---|---|---|---|---|---|---|")
    for replicas in map(int, argv or ["4", "16", "64"]):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), replicas), flush=True)


def measure(folder: Path, replicas: int) -> str:
    """Run a job on this many replicas, and return a line of the table."""
    slots = replicas * round(SEQUENCES * SLOTS_PER_SEQUENCE)
    rows = slots * ROWS_A_SLOT
    write_pairs(folder / "pairs", rows, lambda row: f"passage number {row}")
    usage, summary = judge(folder, replicas)
    worked = summary["this_run"]["replicas"].values()
    seconds = max(at(one["ended_at"]) for one in worked) - mean(at(one["began_at"]) for one in worked)
    least = schedule(rows, slots)
    return (
        f"| {replicas} | {len(worked)} | {rows} | {least:.0f} | {seconds:.0f} | {seconds / least:.2f} "
        f"| {usage.peak_mb:.0f} |"
    )


def schedule(rows: int, slots: int) -> float:
    """The seconds of rows of random times, each taken by the slot that is free first."""
    chance = random.Random(1)
    free = [0.0] * slots
    for _ in range(rows):
        times = LONG if chance.random() < LONG_ROWS else chance.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        heapq.heapreplace(free, free[0] + SECONDS_A_ROW * times)
    return max(free)


def judge(folder: Path, replicas: int) -> tuple[Usage, dict[str, Any]]:
    """Judge `folder/pairs`; also what the summary says."""
    usage = run_job(
        "rerank", "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150",
        f"engine.args.seconds_per_row={SECONDS_A_ROW}", f"engine.args.long_rows={LONG_ROWS}",
        f"engine.max_num_seqs={SEQUENCES}", "engine.cpus=0.01", f"cluster.replicas={replicas}",
        f"input.path={folder / 'pairs'}", f"output.path={folder / 'judged'}",
    )  # fmt: skip
    return usage, json.loads((folder / "judged" / "summary.json").read_text())


def at(text: str) -> float:
    """Seconds since 1970."""
    return dt.datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main(sys.argv[1:])
