"""Reads how far a job is from its output. Needs no cluster."""

import time
from collections.abc import Container, Sequence
from typing import NamedTuple

from rank1_batch.errors import SettingsError
from rank1_batch.output.commits import check_committed
from rank1_batch.output.counts import Counts
from rank1_batch.output.deaths import read_attempts, read_deaths
from rank1_batch.output.layout import JUDGMENTS_FOLDER, judgments_path
from rank1_batch.output.lease import Lease, read_lease
from rank1_batch.output.notes.kept import count_kept
from rank1_batch.output.notes.last_run import LastRun, read_last_run
from rank1_batch.output.plan import read_plan
from rank1_batch.output.success import is_finished
from rank1_batch.output.summary import read_summary
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import FileInfo, Store, list_files, open_store

RATE_WINDOW_S = 900.0
"""The rate is that of the commits of the last quarter of an hour before the last one."""


class Status(NamedTuple):
    """What is known about a job. Times are in seconds. `rows_per_s` and `eta_s` are None if they are not known.

    `counts` are those of the committed units, `deaths` the replicas that died. `damaged` says what is wrong
    with files of judgments. `units_begun` and `rows_begun` are under way in the replicas of the run that is active.
    `rows_kept` counts finished rows of units that are not committed yet. `left_out` says which input files could not
    be read.
    """

    url: str
    units: int
    units_done: int
    rows: int
    counts: Counts
    rows_per_s: float | None
    eta_s: float | None
    last_commit_s: float | None
    deaths: int
    lease: Lease | None
    finished: bool
    damaged: list[str]
    units_begun: int
    rows_begun: int
    rows_kept: int
    last_run: LastRun | None
    left_out: list[str]


def read_status(url: str) -> Status:
    """The state of the job whose output is here. Raises SettingsError where there is no job."""
    store = open_store(url)
    units = read_plan(store)
    if not units:
        raise SettingsError([f"output.path: {store.url} holds no job (no _rank1/units.parquet)"])
    files = {file.path: file for file in list_files(store, JUDGMENTS_FOLDER)}
    done = [unit for unit in units if judgments_path(unit.unit_id) in files]
    commits = [files[judgments_path(unit.unit_id)] for unit in done]
    counts, damaged, _ = check_committed(store, done)
    rows = sum(unit.pairs for unit in units)
    rate, last = measure_rate(done, commits)
    lease, summary = read_lease(store), read_summary(store)
    begun = _count_begun(store, lease.run_id, {unit.unit_id for unit in done}) if lease else {}
    return Status(
        url=store.url,
        units=len(units),
        units_done=len(done),
        rows=rows,
        counts=counts,
        rows_per_s=rate,
        eta_s=(rows - counts.rows) / rate if rate else None,
        last_commit_s=None if last is None else max(0.0, time.time() - last),
        deaths=len(read_deaths(store)),
        lease=lease,
        finished=is_finished(store, units) and len(done) == len(units) and not damaged,
        damaged=list(damaged.values()),
        units_begun=len(begun),
        rows_begun=sum(begun.values()),
        rows_kept=count_kept(store),
        last_run=read_last_run(store),
        left_out=summary.bad_files if summary else [],
    )


def _count_begun(store: Store, run_id: str, done: Container[str]) -> dict[str, int]:
    """Rows that the replicas of a run have begun, by unit, without committed units."""
    begun = [item for attempt in read_attempts(store, run_id) for item in attempt.rows.items()]
    return {unit_id: sum(stop - start for start, stop in runs) for unit_id, runs in begun if unit_id not in done}


def measure_rate(units: Sequence[Unit], commits: Sequence[FileInfo]) -> tuple[float | None, float | None]:
    """Rows a second over the last commits, and the time of the last one. None if there are too few."""
    pairs = zip(units, commits, strict=True)
    timed = sorted((file.modified_at, unit.pairs) for unit, file in pairs if file.modified_at is not None)
    if not timed:
        return None, None
    last = timed[-1][0]
    recent = [(at, rows) for at, rows in timed if at >= last - RATE_WINDOW_S]
    span = last - recent[0][0]
    # The first commit marks the beginning: when its rows were begun is not known.
    return (sum(rows for _, rows in recent[1:]) / span if span > 0 else None), last
