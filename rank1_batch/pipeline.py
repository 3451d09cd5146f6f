"""The job from end to end: plan, judge, finish. Every stage can be killed and begun again."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from rich.console import Console

from rank1_batch.config import GatesConfig, RerankConfig
from rank1_batch.errors import AccessError, ErrorRateError, InterruptedJobError, RefusedError, StorageError
from rank1_batch.gates import FAIL, check_gates, list_failures
from rank1_batch.golden import GoldenSet, read_golden
from rank1_batch.lease import HeldLease, hold_lease
from rank1_batch.manifest import (
    SUCCESS_PATH,
    SUMMARY_PATH,
    Counts,
    build_fingerprint,
    check_output,
    claim_output,
    committed_units,
    name_prompt,
    read_first_stages,
    read_plan,
    write_first_stages,
    write_plan,
)
from rank1_batch.progress import JobProgress
from rank1_batch.recorded import record_settings
from rank1_batch.redoing import Redo
from rank1_batch.retries import count_retries
from rank1_batch.stages.finish import Judged, add_receipt, build_summary, count_committed
from rank1_batch.stages.judge import JudgeSpec
from rank1_batch.stages.plan import open_input, plan_units
from rank1_batch.stages.rank import Ranked, rank_units
from rank1_batch.stopping import stop_on_sigterm
from rank1_batch.storage import Store, delete_file, open_store, read_bytes, write_bytes
from rank1_batch.units import Unit
from rank1_batch.versions import find_versions

DONE, BAD_INPUT_SKIPPED, GATE_FAILED = 0, 3, 7
MOST_ROWS_RANKED_HERE = 10_000_000
"""The driver alone ranks about 100,000 rows a second: beyond this the nodes of the cluster share the work."""


class Outcome(NamedTuple):
    """How a job ended: its summary, and the exit code for it."""

    summary: dict[str, Any]
    exit_code: int
    nothing_to_do: bool = False


class Work(NamedTuple):
    """What there is to do: all units, those without judgments, and how long planning took.

    `planned` are the units of the plan as it stands in the output; `golden` is what every replica
    judges before it works; `redo` what to judge again, where only rows that were judged are pending.
    """

    input_url: str
    output: Store
    planned: list[Unit]
    units: list[Unit]
    pending: list[Unit]
    bad_files: list[str]
    first_stages: list[Any]
    plan_s: float
    golden: GoldenSet | None = None
    redo: Redo | None = None
    retries_before: int = 0

    def count_pairs(self) -> int:
        """Rows of the whole job."""
        return sum(unit.pairs for unit in self.units)

    def ranked_on_cluster(self) -> bool:
        """Whether there is too much to be ranked by one process."""
        return self.count_pairs() > MOST_ROWS_RANKED_HERE


def run_rerank(config: RerankConfig, console: Console) -> Outcome:
    """Judge what is not yet judged. Returns when every row in has its row out."""
    work = _plan(config)
    if not work.pending and (summary := _read_summary(work.output, config.gates)):
        return Outcome(summary, _exit_code(summary), nothing_to_do=True)
    _tell_plan(work, console)
    before = _count_before(work, config)
    with hold_cluster(work, config, console), hold_output(work, config, console) as lease:
        # The first things that are written: nothing that can be checked beforehand is wrong.
        work = _claim(work, config)
        judged = judge(work, config, console, before, lease) if work.pending else Judged()
        return finish(work, judged, config)


def tell(console: Console, text: str) -> None:
    """A line for people, as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def hold_cluster(work: Work, config: RerankConfig, console: Console) -> Iterator[None]:
    """Ray, where there is anything for it to do."""
    if not work.pending and not work.ranked_on_cluster():
        yield
        return
    # Ray takes seconds to import: settings and input are checked before.
    from rank1_batch.cluster import connect

    with connect(config.cluster, config.engine) as logs:
        tell(console, f"logs: {logs}")
        yield


@contextmanager
def hold_output(work: Work, config: RerankConfig, console: Console) -> Iterator[HeldLease]:
    """The lease of the output. Raises RefusedError where another run is at work on it."""
    with hold_lease(work.output, lambda text: tell(console, text), takeover=config.run.takeover) as lease:
        yield lease


@contextmanager
def _in_mid_run() -> Iterator[None]:
    """What the store refuses while a job runs counts as its failure: it was allowed when the job began."""
    try:
        yield
    except AccessError as error:
        message = f"{error}\nIt was there, and allowed, when this run began. What was committed is kept: run again."
        raise StorageError(message) from error


@_in_mid_run()
def judge(work: Work, config: RerankConfig, console: Console, before: Counts, lease: HeldLease) -> Judged:
    """Judge the pending units; what was seen of it. `before` counts the rows that are not pending."""
    from rank1_batch.stages.stream import stream_units

    total, done = work.count_pairs(), len(work.units) - len(work.pending)
    spec = JudgeSpec(config, work.input_url, work.output.url, lease.run_id, find_versions(), work.golden, work.redo)
    progress = JobProgress(console, total, len(work.units), before, done)
    judged, start, first = Judged(), time.monotonic(), math.inf
    receipts = stream_units(work.pending, spec, config.cluster, config.engine)
    with progress.show(config.run.log_every_s), stop_on_sigterm(lease.stop, config.run.grace_s), closing(receipts):
        for receipt in receipts:
            first = min(first, receipt.began)
            judged = add_receipt(judged, receipt)
            progress.add(receipt.counts, receipt.began)
            _check_error_rate(progress.counts, total, config.output.max_error_rate)
    _check_all_judged(work, judged, lease)
    load_s = first - start
    return judged._replace(load_s=load_s, judge_s=time.monotonic() - start - load_s)


@_in_mid_run()
def finish(work: Work, judged: Judged, config: RerankConfig) -> Outcome:
    """Check that every row is there, rank, and write the summary; `_SUCCESS` unless a gate fails."""
    start = time.monotonic()
    unread = {unit_id for unit_id, _ in judged.failures}
    units = [unit for unit in work.units if unit.unit_id not in unread]
    counts = count_committed(work.output, units)
    ranked = _rank(work, units)
    finish_s = time.monotonic() - start
    seconds = {"plan": work.plan_s, "load": judged.load_s, "judge": judged.judge_s, "finish": finish_s}
    bad_files = [*work.bad_files, *(reason for _, reason in judged.failures)]
    gates = check_gates(counts, config.gates)
    failed = list_failures(gates, FAIL)
    retries = judged.storage_retries + count_retries() - work.retries_before
    judged = judged._replace(storage_retries=retries)
    summary = build_summary(counts, gates, ranked, judged, seconds, bad_files)
    summary |= {"first_stages": work.first_stages, "prompt": name_prompt(config.prompt)}
    if failed:  # an earlier run's, with other limits
        delete_file(work.output, SUCCESS_PATH)
    write_bytes(work.output, SUMMARY_PATH, json.dumps(summary, indent=2).encode())
    if not failed:
        write_bytes(work.output, SUCCESS_PATH, b"")
    return Outcome(summary, GATE_FAILED if failed else _exit_code(summary))


def _rank(work: Work, units: list[Unit]) -> Ranked:
    if not work.ranked_on_cluster():
        return rank_units(work.output, units)
    from rank1_batch.stages.rank_cluster import rank_on_cluster

    return rank_units(work.output, units, rank_buckets=rank_on_cluster)


def _plan(config: RerankConfig) -> Work:
    start, retries_before = time.monotonic(), count_retries()
    source, files = open_input(config.input)
    output = open_store(config.output.path)
    planned = read_plan(output)
    plan = plan_units(source, files, config.input, planned)
    fingerprint = build_fingerprint(config)
    check_output(output, fingerprint, fresh=config.run.fresh)
    golden = read_golden(config.golden.path, fingerprint) if config.golden.path else None
    known = read_first_stages(output)
    first_stages = [*known, *(found for found in plan.first_stages if found not in known)]
    pending = _find_pending(output, plan.units)
    seconds = time.monotonic() - start
    return Work(
        source.url, output, planned, plan.units, pending, plan.bad_files, first_stages, seconds, golden,
        retries_before=retries_before,
    )  # fmt: skip


def _find_pending(output: Store, units: list[Unit]) -> list[Unit]:
    committed = committed_units(output)
    return [unit for unit in units if unit.unit_id not in committed]


def _read_summary(output: Store, gates: GatesConfig) -> dict[str, Any] | None:
    """The summary of a job that came to its end; None where it did not, or its gates had other limits."""
    summary = read_bytes(output, SUMMARY_PATH)
    if summary is None or read_bytes(output, SUCCESS_PATH) is None:
        return None
    found = dict(json.loads(summary))
    counts = Counts(*(found.get(name, 0) for name in Counts._fields))
    same = found.get("gates") == [gate._asdict() for gate in check_gates(counts, gates)]
    return found if same else None


def _tell_plan(work: Work, console: Console) -> None:
    files = len({unit.path for unit in work.units})
    shards = f"{files} file{'s' if files != 1 else ''}"
    done = len(work.units) - len(work.pending)
    resumed = f"; {done} units are judged already, going on" if done else ""
    tell(console, f"{work.count_pairs()} rows in {shards}, {len(work.units)} units{resumed}")


def _count_before(work: Work, config: RerankConfig) -> Counts:
    """The counts of what earlier runs judged. Raises ErrorRateError where these alone exceed the limit."""
    pending = {unit.unit_id for unit in work.pending}
    before = count_committed(work.output, [unit for unit in work.units if unit.unit_id not in pending])
    _check_error_rate(before, work.count_pairs(), config.output.max_error_rate)
    return before


def _claim(work: Work, config: RerankConfig) -> Work:
    """The work as it is now that nobody else is at it, with its plan and what shapes its scores written."""
    claim_output(work.output, build_fingerprint(config))
    if read_plan(work.output) != work.planned:  # another run added to it meanwhile
        work = _plan(config)
    if work.units != work.planned:
        # Before the plan: files that are planned are not asked for it again.
        write_first_stages(work.output, work.first_stages)
        write_plan(work.output, work.units)
    record_settings(work.output, config)
    delete_file(work.output, SUCCESS_PATH)
    return work._replace(pending=_find_pending(work.output, work.units))


def _check_error_rate(counts: Counts, total_rows: int, limit: float) -> None:
    """Raises ErrorRateError as soon as the errors exceed the limit for the whole job, judged or not."""
    if counts.errors > limit * total_rows:
        raise ErrorRateError(
            f"{counts.errors} of {total_rows} rows have failed, more than output.max_error_rate={limit:g} allows. "
            "All judged rows are kept; the `error` column says why rows failed. "
            "Run again with a higher output.max_error_rate to go on."
        )


def _check_all_judged(work: Work, judged: Judged, lease: HeldLease) -> None:
    """Raises RefusedError or InterruptedJobError where the replicas were told to stop early."""
    left = len(work.pending) - judged.units
    if left <= 0:
        return
    if lease.stopping and lease.lost_to is None:
        raise InterruptedJobError(
            f"stopped on request: {judged.units} units were judged in this run, {left} are left. "
            "The same command goes on."
        )
    # The replicas look at the lease more often than this process: they alone may have seen a quick run.
    other = f": {lease.lost_to.holder()}" if lease.lost_to else ", and has ended since"
    raise RefusedError(f"{work.output.url}: another run took over{other}. Nothing is lost.")


def _exit_code(summary: dict[str, Any]) -> int:
    return BAD_INPUT_SKIPPED if summary["bad_files"] else DONE
