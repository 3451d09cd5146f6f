"""The job from end to end: plan, judge, finish. Every stage can be killed and started again."""

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from rich.console import Console

from rank1_batch.cli.command import end, tell
from rank1_batch.engines.cross_encoder import resolve_cross_encoder
from rank1_batch.errors import AccessError, InterruptedJobError, ReplicaError, SettingsError, StorageError
from rank1_batch.jobs.rerank.failures import check_error_rate
from rank1_batch.jobs.rerank.gates import FAIL, check_gates, list_failures
from rank1_batch.jobs.rerank.mixing import check_versions
from rank1_batch.jobs.rerank.progress import JobProgress
from rank1_batch.jobs.rerank.stopping import stop_on_sigterm
from rank1_batch.jobs.rerank.summary import Judged, add_receipt, build_summary, total_run
from rank1_batch.jobs.rerank.watching import Watch
from rank1_batch.jobs.rerank.work import (
    Work,
    claim_work,
    count_before,
    find_finished,
    find_work,
    tell_plan,
)
from rank1_batch.output.claims import read_claim
from rank1_batch.output.commits import count_committed, record_counted
from rank1_batch.output.counts import Counts
from rank1_batch.output.deaths import clear_attempts
from rank1_batch.output.fingerprint import RERANK, find_judge, name_prompt
from rank1_batch.output.generations import check_redo_finished
from rank1_batch.output.layout import SUCCESS_PATH, SUMMARY_PATH
from rank1_batch.output.lease import HeldLease, clear_lease, hold_lease
from rank1_batch.output.notes.kept import clear_kept
from rank1_batch.output.notes.last_run import record_run
from rank1_batch.output.ranking import Ranked, rank_units, see_ranking
from rank1_batch.output.success import build_success
from rank1_batch.output.summary import Summary, summary_to_json
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.judge import JudgeSpec
from rank1_batch.settings import RerankConfig
from rank1_batch.storage.retries import count_retries
from rank1_batch.storage.store import Store, delete_file, put_over, see_files
from rank1_batch.versions import find_versions

RECORD_COUNTS_S = 900.0
"""Until then `jobs.status` reads the footer of each file that was committed since. A record takes some seconds, mostly
for the list of 100,000 files."""

DONE, BAD_INPUT_SKIPPED, GATE_FAILED = 0, 3, 7


class Outcome(NamedTuple):
    """How a job ended: its summary and its exit code."""

    summary: Summary
    exit_code: int
    nothing_to_do: bool = False


def run_rerank(config: RerankConfig, console: Console) -> Outcome:
    """Judge what is not yet judged. Returns when every input row has its output row."""
    config = resolve_cross_encoder(config)
    work = find_work(config)
    if not work.pending and (summary := find_finished(work, config.gates)):
        clear_lease(work.output)
        return Outcome(summary, _exit_code(summary), nothing_to_do=True)
    tell_plan(work, console)
    for difference in check_versions(work.committed, config.run.versions):
        tell(console, difference)
    before = count_before(work, config)
    with (
        hold_cluster(work, config, console),
        hold_output(work.output, config, console) as lease,
        record_run(work.output, lease.run_id) as run,
    ):
        # Nothing that can be checked beforehand is wrong.
        work = claim_work(work, config, lease.check)
        judged = judge(work, config, console, before, lease) if work.pending else Judged()
        check_redo_finished(work.output)  # one may be left where files were mended
        outcome = finish(work, judged, config, lease)
        run.exit_code = outcome.exit_code
        return outcome


@contextmanager
def hold_cluster(work: Work, config: RerankConfig, console: Console) -> Iterator[None]:
    """Ray, if there is anything for it to do."""
    if not work.pending and not work.ranked_on_cluster():
        yield
        return
    # Ray takes seconds to import: settings and input are checked before.
    from rank1_batch.cluster.alive import watch_ray
    from rank1_batch.cluster.connect import connect
    from rank1_batch.cluster.nodes import wait_for_room

    with (
        os.fdopen(os.dup(2), "w", encoding="utf-8") as errors,
        connect(config.cluster, config.engine) as logs,
        watch_ray(partial(_end_without_ray, Console(file=errors, highlight=False))),
    ):
        tell(console, f"logs: {logs}")
        if work.pending:
            wait_for_room(config.cluster, config.engine, lambda text: tell(console, text))
        yield


def _end_without_ray(errors: Console, reason: str) -> None:
    """End this process, as Ray's own code soon would without a word. Its lease is taken by the next run."""
    tell(errors, f"error: {reason}. All committed units are kept. Run the same command again.")
    end(ReplicaError.exit_code)


@contextmanager
def hold_output(output: Store, config: RerankConfig, console: Console) -> Iterator[HeldLease]:
    """The lease of the output. Raises RefusedError where another run is at work on it."""
    with hold_lease(output, lambda text: tell(console, text), takeover=config.run.takeover) as lease:
        yield lease


@contextmanager
def _in_mid_run() -> Iterator[None]:
    """Turn an AccessError into a StorageError: the store allowed the access when the job started."""
    try:
        yield
    except AccessError as error:
        hint = "It was there, and allowed, when this run started. All committed units are kept."
        message = f"{error}\n{hint} Run the same command again."
        raise StorageError(message) from error


@contextmanager
def _blame_takeover(lease: HeldLease) -> Iterator[None]:
    """Raise RefusedError where replicas could not start since another run took over: they find no lease of this one."""
    try:
        yield
    except SettingsError:
        lease.check()
        raise


def ask_to_stop(lease: HeldLease, grace_s: float, console: Console) -> None:
    """Ask the replicas to start no new units, and say so. Called in a signal handler."""
    lease.stop()
    text = f"stopping: units under way have {grace_s:g} s to finish (run.grace_s)"
    # Another thread may hold the console's lock, and this one must not wait for it.
    threading.Thread(target=tell, args=(console, text), name="stopping", daemon=True).start()


@_in_mid_run()
def judge(work: Work, config: RerankConfig, console: Console, before: Counts, lease: HeldLease) -> Judged:
    """Judge the pending units. Returns the totals of this run. `before` counts the rows that are not pending."""
    from rank1_batch.cluster.nodes import has_room
    from rank1_batch.cluster.stream import stream_units

    total, done = work.count_pairs(), len(work.units) - len(work.pending)
    model = replace(config.model, revision=work.commit.sha) if work.commit else config.model
    spec = JudgeSpec(
        replace(config, model=model), work.input_url, work.output.url, lease.run_id, find_versions(), work.golden,
        work.redo, weights=work.fingerprint["model"]["weights"] if work.fingerprint else None,
    )  # fmt: skip
    progress = JobProgress(console, total, len(work.units), before, done)
    watch = Watch(work.output, lease.run_id, config, progress, console, lambda: has_room(config.engine))
    judged, start, first = Judged(), time.monotonic(), math.inf
    recorded = -math.inf
    receipts = stream_units(work.pending, spec, lambda text: tell(console, text))
    stopping = stop_on_sigterm(lambda: ask_to_stop(lease, config.run.grace_s, console), config.run.grace_s)
    with _blame_takeover(lease), progress.show(), stopping, watch.keep(), closing(receipts):
        for receipt in receipts:
            first = min(first, receipt.began)
            judged = add_receipt(judged, receipt)
            progress.add(receipt.counts, receipt.began)
            check_error_rate(work.output, work.units, total, progress.counts, config.output.max_error_rate)
            if time.monotonic() >= recorded + RECORD_COUNTS_S:
                recorded = time.monotonic()
                record_counted(work.output, work.units)
    record_counted(work.output, work.units)
    _check_all_judged(work, judged, lease)
    clear_attempts(work.output)
    load_s = first - start
    return judged._replace(load_s=load_s, judge_s=time.monotonic() - start - load_s)


@_in_mid_run()
def finish(work: Work, judged: Judged, config: RerankConfig, lease: HeldLease) -> Outcome:
    """Check that every row is there, rank, and write the summary; `_SUCCESS` unless a gate fails.

    Raises RefusedError where another run took over: what it wrote is never replaced.
    """
    start = time.monotonic()
    seen = {
        **see_ranking(work.output),
        **see_files(work.output, [SUMMARY_PATH, SUCCESS_PATH]),
    }  # before the lease is checked
    lease.check()
    unread = work.unread | {unit_id for unit_id, _ in judged.failures}
    units = [unit for unit in work.units if unit.unit_id not in unread]
    counts = count_committed(work.output, units)
    ranked = _rank(work, units, seen)
    finish_s = time.monotonic() - start
    seconds = {"plan": work.plan_s, "load": judged.load_s, "judge": judged.judge_s, "finish": finish_s}
    bad_files = [*work.bad_files, *(reason for _, reason in judged.failures)]
    gates = check_gates(counts, config.gates)
    retries = judged.storage_retries + count_retries() - work.retries_before
    this_run = total_run(judged._replace(storage_retries=retries), seconds)
    summary = build_summary(counts, ranked, gates, bad_files, this_run)
    summary = replace(summary, first_stages=work.first_stages, prompt=name_prompt(config.prompt))
    if judge := find_judge(read_claim(work.output, RERANK) or {}):
        summary = replace(summary, judged_with=judge._asdict(), dry_run=judge.is_dry_run)
    lease.check()
    clear_kept(work.output)
    return _write_end(work, summary, seen)


def _write_end(work: Work, summary: Summary, seen: Mapping[str, str]) -> Outcome:
    """The summary, and `_SUCCESS` unless a gate fails."""
    output, failed = work.output, list_failures(summary.gates, FAIL)
    if failed:  # an earlier run's, with other limits
        delete_file(output, SUCCESS_PATH)
    put_over(output, SUMMARY_PATH, summary_to_json(summary), seen)
    if not failed:
        put_over(output, SUCCESS_PATH, build_success(work.units), seen)
    return Outcome(summary, GATE_FAILED if failed else _exit_code(summary))


def _rank(work: Work, units: list[Unit], seen: Mapping[str, str]) -> Ranked:
    if not work.ranked_on_cluster():
        return rank_units(work.output, units, seen=seen)
    from rank1_batch.cluster.rank import rank_on_cluster

    return rank_units(work.output, units, rank_buckets=rank_on_cluster, seen=seen)


def _check_all_judged(work: Work, judged: Judged, lease: HeldLease) -> None:
    """Raises RefusedError or InterruptedJobError if the replicas stopped before all units were judged."""
    left = len(work.pending) - judged.units
    if left <= 0:
        return
    if lease.stopping and not lease.lost:
        units = f"{judged.units} units judged in this run, {left} left"
        raise InterruptedJobError(f"Stopped as requested: {units}. Run the same command to resume.")
    # The replicas look at the lease more often than this process: they alone may have seen a quick run.
    raise lease.refusal()


def _exit_code(summary: Summary) -> int:
    return BAD_INPUT_SKIPPED if summary.bad_files else DONE
