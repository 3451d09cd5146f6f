"""The driver of a large job: CPU time and memory for its plan, its tasks and its receipts, without any row.

    python -m benchmarks.driver [ROWS] [REPLICAS]      default: 100000000 64

The plan is that of so many rows for so many replicas of 256 sequences. Four actors stand in for the replicas and answer
each task at once with the receipts that a replica would send. All else is the job's own code.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.dealing import cut
from rank1_batch.cluster import stream
from rank1_batch.cluster.connect import connect
from rank1_batch.cluster.replicas import follow_starts
from rank1_batch.jobs.rerank.progress import JobProgress
from rank1_batch.jobs.rerank.summary import Judged, add_receipt
from rank1_batch.output.counts import Counts
from rank1_batch.output.plan import read_plan, write_plan
from rank1_batch.pairs.units import Unit, name_unit
from rank1_batch.replica.judge import JudgeSpec, Receipt
from rank1_batch.settings import load_config
from rank1_batch.storage.store import open_store

SEQUENCES, ACTORS, FILE_ROWS = 256, 4, 1_000_000
ROWS_PER_S = 20
"""Of a replica: the pace for which the share of a core is given."""


class AnsweringActor:
    """Stands in for the actor of stream.build_judge: every unit is judged at once."""

    def __init__(self, *_: Any) -> None: ...

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """A receipt for each unit of a task."""
        units = [Unit(*unit) for unit in json.loads(str(batch["units"][0]))]
        return {"receipt": [stream._to_text(self._answer(unit)) for unit in units]}

    def _answer(self, unit: Unit) -> Receipt:
        counts = Counts(rows=unit.pairs, complete=unit.pairs, prompt_tokens=300 * unit.pairs)
        return Receipt(unit.unit_id, counts, True, "node", "1@host", time.monotonic())


def main(argv: Sequence[str]) -> None:
    """Say what the driver took."""
    rows, replicas = (int(argv[0]) if argv else 10**8), (int(argv[1]) if len(argv) > 1 else 64)
    with tempfile.TemporaryDirectory() as folder:
        units = plan(Path(folder), rows, replicas)
        before, start = cpu_seconds(), time.monotonic()
        tasks = deal_and_judge(Path(folder), units)
        spent, seconds = cpu_seconds() - before, time.monotonic() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    share = spent / (rows / (replicas * ROWS_PER_S))
    print(f"{rows} rows, {len(units)} units, {tasks} tasks: {spent:.0f} s of CPU in {seconds:.0f} s, {peak_mb:.0f} MB")
    print(f"At {ROWS_PER_S} rows/s a replica this is {100 * share:.2f} % of a core.")


def plan(folder: Path, rows: int, replicas: int) -> list[Unit]:
    """The plan of so many rows in files of a million, as a resumed job reads it."""
    store = open_store(str(folder / "judged"))
    write_plan(store, list(number_files(cut(rows, SEQUENCES, replicas))))
    return read_plan(store)


def number_files(units: Sequence[Unit]) -> Iterator[Unit]:
    """Units with names, as if a file began every million rows."""
    for unit in units:
        path = f"pairs/part-{unit.row_start // FILE_ROWS:05d}.parquet"
        unit_id = name_unit(path, "etag", unit.row_start, unit.row_stop)
        yield unit._replace(unit_id=unit_id, path=path, identity="d41d8cd98f00b204e9800998ecf8427e")


def deal_and_judge(folder: Path, units: Sequence[Unit]) -> int:
    """Send all units through the actors, as `jobs.rerank` does; how many tasks they made."""
    config = load_config(
        ["model=custom", "model.name=none", "engine=scripted", "input.path=pairs", "output.path=judged",
         "engine.cpus=0.1", f"cluster.replicas={ACTORS}"]
    )  # fmt: skip
    stream.build_judge = lambda: AnsweringActor
    rows = sum(unit.pairs for unit in units)
    progress, judged = JobProgress(Console(quiet=True), rows, len(units), Counts(), 0), Judged()
    spec = JudgeSpec(config, str(folder), str(folder), "run", {})
    with connect(config.cluster, config.engine), follow_starts(config.engine, print) as starts, progress.show():
        for receipt in stream._stream(units, spec, starts):
            judged = add_receipt(judged, receipt)
            progress.add(receipt.counts, receipt.began)
    if judged.counts.rows != rows:
        raise SystemExit(f"{judged.counts.rows} rows came back, of {rows}")
    return len(stream.deal_units(units, SEQUENCES, ACTORS))


def cpu_seconds() -> float:
    """CPU time of this process."""
    return time.process_time()


if __name__ == "__main__":
    main(sys.argv[1:])
