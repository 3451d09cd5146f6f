"""Ranking committed judgments: seconds, CPU seconds, and memory above that of an idle process.

    python -m benchmarks.ranking [ROWS …]           in this process; default: 100000 1000000
    python -m benchmarks.ranking cluster [ROWS …]   by a local Ray cluster

CPU seconds and memory are those of the driver alone.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext

import pyarrow as pa

from rank1_batch.cluster.connect import connect
from rank1_batch.cluster.rank import rank_on_cluster
from rank1_batch.columns import CANDIDATE, DOC_ID, FIRST_STAGE_RANK, FIRST_STAGE_SCORE, QUERY_ID, ROW
from rank1_batch.judging.records import Finish, Judgment
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.judgments import build_judgments
from rank1_batch.output.plan import read_plan, write_plan
from rank1_batch.output.ranking import rank_here, rank_units
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import ClusterConfig, EngineConfig
from rank1_batch.storage.store import Store, open_store

DEPTH = 100
UNIT_ROWS = 250
"""Not a multiple of the depth: some queries stand in two units."""
TRACE = "Okay, let me see. The query asks for one thing and the passage speaks of another. " * 10


def main(argv: Sequence[str]) -> None:
    """Print a line for each number of rows."""
    if argv[:1] == ["--rank"]:
        rank(open_store(argv[2]), cluster=argv[1] == "cluster")
        return
    where, sizes = ("cluster", argv[1:]) if argv[:1] == ["cluster"] else ("here", argv)
    print("| rows | units | seconds | of the CPU | MB above the start |\n|---|---|---|---|---|")
    for rows in [int(text) for text in sizes] or [100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            write_judged(open_store(folder), rows)
            subprocess.run([sys.executable, "-m", "benchmarks.ranking", "--rank", where, folder], check=True)


def rank(store: Store, *, cluster: bool) -> None:
    """Rank what is committed, and print a line of the table. Each size needs its own process for peak memory."""
    units = read_plan(store)
    with connect(ClusterConfig(), EngineConfig(kind="scripted", gpus=0)) if cluster else nullcontext():
        before, start, cpu_start = peak_mb(), time.monotonic(), time.process_time()
        ranked = rank_units(store, units, rank_buckets=rank_on_cluster if cluster else rank_here)
    seconds, cpu_s = time.monotonic() - start, time.process_time() - cpu_start
    memory_mb = peak_mb() - before
    print(f"| {ranked.rows} | {len(units)} | {seconds:.1f} | {cpu_s:.1f} | {memory_mb:.0f} |", flush=True)


def peak_mb() -> float:
    """The most memory that this process has held so far, in units of 10⁶ bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def write_judged(store: Store, rows: int) -> None:
    """Committed units of judgments with traces, as a job leaves them."""
    units = [Unit(f"{n:016x}", "all.parquet", "", n, n + UNIT_ROWS, UNIT_ROWS) for n in range(0, rows, UNIT_ROWS)]
    chance = random.Random(1)
    for unit in units:
        numbers = range(unit.row_start, unit.row_stop)
        table = pa.table(
            {
                QUERY_ID: [f"query-{row // DEPTH}" for row in numbers],
                DOC_ID: [f"document-{chance.randrange(10**8)}" for _ in numbers],
                FIRST_STAGE_RANK: [row % DEPTH + 1 for row in numbers],
                FIRST_STAGE_SCORE: [30.0 - row % DEPTH / 10 for row in numbers],
                ROW: pa.array(numbers, pa.int64()),
                CANDIDATE: pa.nulls(UNIT_ROWS, pa.int32()),
            }
        )
        judgments = [judge(chance) for _ in numbers]
        commit_unit(store, unit, build_judgments(table, judgments, unit.unit_id, ()), Counts(rows=UNIT_ROWS))
    write_plan(store, units)


def judge(chance: random.Random) -> Judgment:
    """A made-up judgment. A third of the scores are tied, as those of a very sure model are."""
    score = chance.choice([chance.random(), chance.random(), 1.0])
    label = bool(round(score))
    return Judgment(score, -0.1, -2.3, label, Finish.COMPLETE, TRACE, 300, 200, passage_truncated=False, error=None)


if __name__ == "__main__":
    main(sys.argv[1:])
