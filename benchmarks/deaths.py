"""What the death of a replica costs a job: its time with one death, against its time without.

    python -m benchmarks.deaths [ROWS]      default: 4000

Rows take a log-normal time, and 3 in 100 take 25 times the mean. The process of the only replica is killed when half of
the units are committed. What it had begun is judged again, and another process takes its place.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow.parquet as pq

from benchmarks.measuring import REPLICA, write_pairs

SEQUENCES, UNIT_ROWS, SECONDS_A_ROW, LONG_ROWS = 16, 20, 0.22, 0.03
LOOK_EVERY_S = 0.1


class Killed(NamedTuple):
    """What a replica had begun when it was killed, and the seconds until another one began."""

    units: int
    rows: int
    restart_s: float


def main(argv: Sequence[str]) -> None:
    """A line of the table: both times and their ratio."""
    rows = int(argv[0]) if argv else 4000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder / "pairs", rows, lambda row: f"passage number {row}")
        with run_job(folder / "pairs", folder / "plain"):
            pass
        with run_job(folder / "pairs", folder / "dead") as job:
            killed = kill_replica(job, folder / "dead")
        plain, dead = read_seconds(folder / "plain"), read_seconds(folder / "dead")
    print("| rows | units begun, with rows | s without a death | s with one | of them until the next replica | ratio |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {rows} | {killed.units}, {killed.rows} | {plain:.1f} | {dead:.1f} | {killed.restart_s:.1f} "
        f"| {dead / plain:.2f} |"
    )


@contextmanager
def run_job(pairs: Path, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A job that is started before the block and waited for after it."""
    job = subprocess.Popen(
        [
            sys.executable, "-m", "jobs.rerank", "model=custom", "model.name=none", "engine=scripted",
            "policy.max_thinking_tokens=150", f"engine.args.seconds_per_row={SECONDS_A_ROW}",
            f"engine.args.long_rows={LONG_ROWS}", f"engine.max_num_seqs={SEQUENCES}", "engine.cpus=0.1",
            f"input.unit_rows={UNIT_ROWS}", f"input.path={pairs}", f"output.path={output}",
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    yield job
    if job.wait():
        raise SystemExit(f"the job ended with {job.returncode}")


def read_seconds(output: Path) -> float:
    """Seconds from the first row that was begun to the last that was judged."""
    return float(json.loads((output / "summary.json").read_text())["this_run"]["seconds"]["judge"])


def kill_replica(job: "subprocess.Popen[bytes]", output: Path) -> Killed:
    """Kill the replica of a job when half of the units are committed, and wait for the next one."""
    units = 0
    while not units or len([*output.glob("judgments/*.parquet")]) < units / 2:
        time.sleep(LOOK_EVERY_S)  # a poll, because a file system sends no notice of a new file
        with contextlib.suppress(FileNotFoundError):
            units = units or pq.read_metadata(output / "_rank1/units.parquet").num_rows
    life, begun = read_attempt(output)
    for process in psutil.Process(job.pid).children(recursive=True):
        if REPLICA in " ".join(process.cmdline()):
            process.kill()
    start = time.monotonic()
    while read_attempt(output)[0] == life:
        time.sleep(LOOK_EVERY_S)  # a poll: nothing says here that another process has taken the place of the dead one
    rows = sum(stop - start for runs in begun.values() for start, stop in runs)
    return Killed(len(begun), rows, time.monotonic() - start)


def read_attempt(output: Path) -> tuple[str, dict[str, Any]]:
    """The life of the only replica, and what it has begun."""
    (file,) = output.glob("_rank1/attempts/*.json")
    attempt = json.loads(file.read_text())
    return attempt["life"], attempt["rows"]


if __name__ == "__main__":
    main(sys.argv[1:])
