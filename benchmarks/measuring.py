"""Measures a job: seconds, CPU seconds and memory. Writes pairs for it to read."""

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

DEPTH = 100
"""Candidates a query."""
SHARD_ROWS = 100_000
LOOK_EVERY_S = 0.1
REPLICA = "JudgeActor"


class Usage(NamedTuple):
    """What a job used. Memory is the largest resident size seen, in units of 10⁶ bytes."""

    seconds: float
    cpu_s: float
    peak_mb: float
    replica_mb: float


def run_job(name: str, *settings: str) -> Usage:
    """Run `python -m jobs.<name>` to its end. CPU seconds include its ended children."""
    start, cpu_start = time.monotonic(), _cpu_seconds()
    job = subprocess.Popen([sys.executable, "-m", f"jobs.{name}", *settings], stdout=subprocess.DEVNULL)
    peak_mb = replica_mb = 0.0
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            driver = psutil.Process(job.pid)
            peak_mb = max(peak_mb, _resident_mb(driver))
            if name == "rerank":
                family = driver.children(recursive=True)
                replica_mb = max([replica_mb, *(_resident_mb(child) for child in family if _is_replica(child))])
        with contextlib.suppress(subprocess.TimeoutExpired):
            if job.wait(LOOK_EVERY_S):
                raise SystemExit(f"the job ended with {job.returncode}")
            return Usage(time.monotonic() - start, _cpu_seconds() - cpu_start, peak_mb, replica_mb)


def judge_scripted(folder: Path) -> tuple[Usage, dict[str, Any]]:
    """Judge `folder/pairs` into `folder/judged` without a model, one token a row. Also return its summary."""
    usage = run_job(
        "rerank", "model=custom", "model.name=none", "engine=scripted", "policy=no_think", "cluster.replicas=2",
        f"input.path={folder / 'pairs'}", f"output.path={folder / 'judged'}",
    )  # fmt: skip
    return usage, json.loads((folder / "judged" / "summary.json").read_text())


def write_pairs(folder: Path, rows: int, write_passage: Callable[[int], str]) -> None:
    """Write shards of pairs with first-stage ranks. `write_passage` makes a text from the number of a row."""
    folder.mkdir()
    for start in range(0, rows, SHARD_ROWS):
        table = make_pairs(range(start, min(start + SHARD_ROWS, rows)), write_passage)
        pq.write_table(table, folder / f"{start}.parquet", row_group_size=20_000)


def make_pairs(numbers: range, write_passage: Callable[[int], str]) -> pa.Table:
    """Pairs of these rows."""
    return pa.table(
        {
            "query_id": [f"q{row // DEPTH}" for row in numbers],
            "query": [f"what is known about number {row // DEPTH}" for row in numbers],
            "doc_id": [f"d{row}" for row in numbers],
            "passage": [write_passage(row) for row in numbers],
        }
    )


def _is_replica(process: psutil.Process) -> bool:
    return REPLICA in " ".join(process.cmdline())


def _resident_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
