"""Jobs that are killed, stopped or frozen at each of their requests to a store.

    python -m benchmarks.faults.requests                  # every request
    python -m benchmarks.faults.requests --every 9        # some of them

A job judges a few pairs in one process: the store is a folder (`store.py`), and Ray is left out. What is tried:

    kill     SIGKILL at a request; the same command must finish the job
    freeze   SIGSTOP at a request; another run takes over, judges a new file, too, and ends; then SIGCONT
    term     SIGTERM at a request; the exit code must be 130, and the lease given back

each for jobs.rerank and jobs.redo. At the end every row must be judged once, and ranking and run must be, byte for
byte, those of a job that nobody disturbed. The exit code is 1 where they are not.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import aiobotocore.session  # noqa: F401  # loaded once here, since each of the many forks would take half a second for it
import pyarrow.parquet as pq

from benchmarks.faults.store import count_requests, send_signal_at, use_folder_as_s3
from rank1_batch.cli import compose
from rank1_batch.cluster import alive, connect, nodes, stream
from rank1_batch.jobs.redo import command as redo
from rank1_batch.jobs.rerank import command as rerank
from rank1_batch.output.commits import count_committed
from rank1_batch.output.generations import find_unfinished, read_generations
from rank1_batch.output.lease import LEASE_PATH
from rank1_batch.output.plan import read_plan
from rank1_batch.output.success import find_finished_units
from rank1_batch.output.summary import read_summary
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.judge import JudgeSpec, JudgeUnits, Receipt
from rank1_batch.settings import RerankConfig, check_config
from rank1_batch.storage.store import open_store, stat_file
from tests.support.tiny_model import tiny_pairs

ROWS, UNIT_ROWS = 8, 4

OUTPUT = "bucket/judged"

RERANK = (
    "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=60", "input.path=s3://bucket/pairs",
    f"output.path=s3://{OUTPUT}", f"input.unit_rows={UNIT_ROWS}", "gates.fail.stray=null",
)  # fmt: skip

REDO = (f"output.path=s3://{OUTPUT}", "where=finish = 'closed'", "policy.max_thinking_tokens=400")

INTERRUPTED, REFUSED = 130, 6

LOG_SHOWN = 2000

UNMARKED = "no _SUCCESS"

Main = Callable[[Sequence[str]], int]


class Job(NamedTuple):
    """A command, and what must be there before it starts: nothing but the pairs, or a finished output as well."""

    name: str
    main: Main
    argv: Sequence[str]
    before: Path


class Site(NamedTuple):
    """Folders of a campaign: the store, what is put there before a job, and a file that comes later."""

    store: Path
    pairs: Path
    later: Path
    log: Path


class Failure(NamedTuple):
    """A promise that was broken: in which trial, and what was found."""

    trial: str
    request: int
    reason: str


def judge_here(units: Sequence[Unit], spec: JudgeSpec, *_: Any) -> Iterator[Receipt]:
    """What the cluster does, in this process."""
    judge = JudgeUnits(spec._replace(first_file=units[0].path), "node")
    for unit in units:
        receipt = judge(unit)
        if not receipt.passed_over:
            yield receipt


def leave_out_ray() -> None:
    """From now on a job of this process, and of those that it forks, judges in its own process."""
    parts: Any = (stream, connect, alive, nodes)
    for part, name, replacement in (
        (parts[0], "stream_units", judge_here),
        (parts[1], "connect", lambda *_: nullcontext("none")),
        (parts[2], "watch_ray", lambda *_: nullcontext()),
        (parts[3], "wait_for_room", lambda *_: None),
    ):
        setattr(part, name, replacement)


def fork(site: Site, run: Callable[[], int]) -> int:
    """Start this in a process of its own. This process itself never does more: a fork would not get its threads."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        log = os.open(site.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = run()
    except BaseException:  # noqa: BLE001  # even SystemExit: a fork that went on would run the whole campaign again
        traceback.print_exc()
    os._exit(code)


def start(site: Site, job: Job, at: int = 0, number: int = 0, *more: str) -> int:
    """Start a job that is sent a signal at a request."""

    def run() -> int:
        send_signal_at(at, number)
        return job.main([*job.argv, *more])

    return fork(site, run)


def wait(pid: int) -> int | None:
    """The exit code of a process, or minus the signal that ended it; None where it was stopped."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    return None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def count(site: Site, job: Job) -> int:
    """How many requests an undisturbed job makes."""
    reset(site, job)
    reading, writing = os.pipe()

    def run() -> int:
        code = job.main(job.argv)
        os.write(writing, str(count_requests()).encode())
        return code

    if wait(fork(site, run)) != 0:
        raise RuntimeError(site.log.read_text())
    os.close(writing)
    with os.fdopen(reading) as answer:
        return int(answer.read())


def reset(site: Site, job: Job) -> None:
    """The store as it is before the job."""
    shutil.rmtree(site.store, ignore_errors=True)
    shutil.copytree(job.before, site.store)
    site.log.write_text("")


def add_later_file(site: Site) -> None:
    """New pairs come."""
    shutil.copy(site.later, site.store / "bucket" / "pairs" / "later.parquet")


def read_order(site: Site) -> dict[str, bytes]:
    """The ranking and the run."""
    folder = site.store / OUTPUT
    files = [folder / "run.trec.gz", *sorted((folder / "ranking").glob("*"))]
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def find_fault(site: Site, expected: dict[str, bytes]) -> str | None:
    """What is wrong with a finished output; None where nothing is. Looks in a process of its own."""
    reading, writing = os.pipe()

    def look() -> int:
        os.write(writing, (_find_fault(site, expected) or "").encode())
        return 0

    pid = fork(site, look)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = answer.read()
    return found or (None if wait(pid) == 0 else site.log.read_text()[-LOG_SHOWN:])


def _find_fault(site: Site, expected: dict[str, bytes]) -> str | None:
    output = open_store(f"s3://{OUTPUT}")
    plan, rows = (
        read_plan(output),
        sum(pq.read_metadata(file).num_rows for file in (site.store / "bucket/pairs").glob("*")),
    )
    counts = count_committed(output, find_finished_units(output).units)
    summary = read_summary(output)
    if not rows == counts.rows == sum(unit.pairs for unit in plan) == (summary and summary.counts.rows):
        return f"{rows} rows, {counts.rows} judged, {sum(unit.pairs for unit in plan)} planned"
    if len({(unit.path, unit.row_start) for unit in plan}) != len(plan):
        return "rows stand in two units"
    if read_order(site) != expected:
        return "the ranking or the run is not that of the judgments"
    if find_unfinished(read_generations(output)):
        return "the redo is not finished"
    return "the lease is still there" if stat_file(output, LEASE_PATH) else None


def try_kill(site: Site, job: Job, at: int, expected: dict[str, bytes]) -> str | None:
    """A job that is killed is finished by the same command."""
    reset(site, job)
    wait(start(site, job, at, signal.SIGKILL))
    code = wait(start(site, job))
    return f"exit code {code}" if code else find_fault(site, expected)


def try_freeze(site: Site, job: Job, at: int, expected: dict[str, bytes]) -> str | None:
    """A job that wakes up after another run has ended harms nothing."""
    reset(site, job)
    frozen = start(site, job, at, signal.SIGSTOP)
    ended = wait(frozen)
    if job.name == "rerank":
        add_later_file(site)
    code = wait(start(site, job, 0, 0, "run.takeover=true"))
    if ended is None:
        os.kill(frozen, signal.SIGCONT)
        ended = wait(frozen)
    if code or ended not in (0, REFUSED):
        return f"exit codes {code} and, of the frozen job, {ended}: {site.log.read_text()[-LOG_SHOWN:]}"
    fault = find_fault(site, expected)
    if fault and UNMARKED in fault and wait(start(site, job)) == 0:
        # _SUCCESS cannot be compared and deleted in one request: the frozen job may take the other's away.
        return find_fault(site, expected)
    return fault


def try_term(site: Site, job: Job, at: int, expected: dict[str, bytes]) -> str | None:
    """A job that is asked to end says so by its exit code and gives its lease back; the same command finishes it."""
    reset(site, job)
    code = wait(start(site, job, at, signal.SIGTERM))
    if code not in (0, INTERRUPTED) or (site.store / OUTPUT / LEASE_PATH).exists():
        return f"exit code {code}, {'a lease is left' if (site.store / OUTPUT / LEASE_PATH).exists() else 'no lease'}"
    again = wait(start(site, job))
    return f"exit code {again} after {code}" if again else find_fault(site, expected)


TRIALS = {"kill": try_kill, "freeze": try_freeze, "term": try_term}


def lay_out(folder: Path) -> Site:
    """The folders, and pairs in two files, one of which comes later. In a process of its own."""
    site = Site(folder / "s3", folder / "pairs", folder / "later.parquet", folder / "log")
    (site.pairs / "bucket" / "pairs").mkdir(parents=True)

    def write() -> int:
        pq.write_table(tiny_pairs(ROWS), site.pairs / "bucket" / "pairs" / "0.parquet")
        pq.write_table(tiny_pairs(UNIT_ROWS, seed=7), site.later)
        return 0

    wait(fork(site, write))
    return site


def run_campaign(every: int, first: int = 1) -> Iterator[tuple[str, int, str | None]]:
    """Each trial as it ends: its name, its request, and what was wrong."""
    leave_out_ray()
    compose.load_settings(RERANK, "rerank", RerankConfig, check_config)  # every fork has Hydra loaded then
    with tempfile.TemporaryDirectory(prefix="rank1_batch-requests-") as folder:
        site = lay_out(Path(folder))
        use_folder_as_s3(site.store)
        jobs = [Job("rerank", rerank.main, RERANK, site.pairs)]
        requests = {"rerank": count(site, jobs[0])}
        undisturbed = {("rerank", "kill"): read_order(site), ("rerank", "term"): read_order(site)}
        shutil.copytree(site.store, Path(folder) / "judged")
        jobs.append(Job("redo", redo.main, REDO, Path(folder) / "judged"))
        add_later_file(site)
        wait(start(site, jobs[0]))
        undisturbed["rerank", "freeze"] = read_order(site)
        requests["redo"] = count(site, jobs[1])
        undisturbed |= {("redo", trial): read_order(site) for trial in TRIALS}
        for job in jobs:
            for trial, attempt in TRIALS.items():
                for at in range(first, requests[job.name] + 1, every):
                    yield f"{trial} {job.name}", at, attempt(site, job, at, undisturbed[job.name, trial])


def main() -> int:
    """Run the campaign; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="try every Nth request")
    parser.add_argument("--first", type=int, default=1, help="begin with this request")
    options = parser.parse_args()
    tried, broken = dict[str, int](), list[Failure]()
    for name, request, reason in run_campaign(options.every, options.first):
        tried[name] = tried.get(name, 0) + 1
        if reason:
            broken.append(Failure(name, request, reason))
            sys.stderr.write(f"{name} at request {request}: {reason}\n")
    sys.stdout.write(json.dumps({"tried": tried, "broken": [failure._asdict() for failure in broken]}) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
