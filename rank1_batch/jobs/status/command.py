"""The command line of `jobs.status`: a table for people, JSON for machines."""

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from rank1_batch.cli.command import run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.errors import list_some
from rank1_batch.jobs.status.job import Status, read_status
from rank1_batch.jobs.status.settings import JOB, StatusConfig
from rank1_batch.output.notes.last_run import LastRun


def main(argv: Sequence[str]) -> int:
    """Run `jobs.status` with these arguments, and return the exit code."""
    return run_command(JOB, argv, run)


def run(config: StatusConfig, console: Console) -> int:
    """Print the state, and return the exit code."""
    status = read_status(config.output.path)
    if config.format == "json":
        console.out(json.dumps(status_to_json(status), indent=2))
        return 0
    print_lines(status_lines(status), console)
    return 0


def status_to_json(status: Status) -> dict[str, Any]:
    """The state as plain values, with times in seconds."""
    lease = status.lease and {**status.lease._asdict(), "state": str(status.lease.state)}
    last_run = status.last_run and asdict(status.last_run)
    return {**status._asdict(), "counts": status.counts._asdict(), "lease": lease, "last_run": last_run}


def status_lines(status: Status) -> Iterator[tuple[str, str]]:
    """Names and values of the table."""
    counts = status.counts
    share = counts.rows / status.rows if status.rows else 1.0
    yield "rows", f"{counts.rows} of {status.rows} judged ({share:.1%})"
    yield "units", f"{status.units_done} of {status.units} committed"
    if status.units_begun:
        yield "under way", f"{status.rows_begun} rows of {status.units_begun} units"
    if status.rows_kept:
        yield "kept", f"{status.rows_kept} finished rows of units that are not committed yet"
    yield "reasoning", f"{counts.complete} complete, {counts.closed} closed at the limit, {counts.errors} errors"
    if status.deaths:
        yield "deaths", f"{status.deaths} times a replica died"
    yield from _file_lines(status)
    if not status.finished:
        yield "rate", "not known yet" if status.rows_per_s is None else _rate(status)
    if status.last_run and status.lease is None:
        yield "last run", _last_run(status.last_run)
    yield "state", _state(status)


def _file_lines(status: Status) -> Iterator[tuple[str, str]]:
    """Input files that were left out, and damaged files of judgments."""
    for reason in list_some(status.left_out):
        yield "left out", reason
    for reason in list_some(status.damaged):
        yield "damaged", reason
    if status.damaged:
        yield "", "Run jobs.rerank again with run.repair=true. It judges the rows of damaged files again."


def _rate(status: Status) -> str:
    eta = "" if status.eta_s is None else f", {_duration(status.eta_s)} to go at that rate"
    return f"{status.rows_per_s:.1f} rows/s over the last commits{eta}"


def _last_run(run: LastRun) -> str:
    began = f"began {_clock(run.began_at)}"
    if run.ended_at is None:
        return f"{began}. How it ended is not recorded: it was killed, or its store did not answer"
    message = f": {run.message}" if run.message else ""
    return f"{began}, ended {_clock(run.ended_at)} with exit code {run.exit_code}{message}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _state(status: Status) -> str:
    if status.finished:
        return "finished"
    last = "" if status.last_commit_s is None else f"; last commit {_duration(status.last_commit_s)} ago"
    if status.lease is None:
        return f"no run is active{last}. Run the same command to resume."
    silent = _duration(max(0.0, time.time() - status.lease.renewed_at))
    return f"{status.lease.state}: {status.lease.holder()}, last sign of life {silent} ago{last}"


def _duration(seconds: float) -> str:
    return str(dt.timedelta(seconds=round(seconds)))
