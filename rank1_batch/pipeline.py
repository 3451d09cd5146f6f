"""The job from end to end: plan, judge, finish. Every stage can be killed and begun again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console

from rank1_batch.config import RerankConfig
from rank1_batch.errors import AccessError, ErrorRateError, StorageError
from rank1_batch.manifest import (
    SUCCESS_PATH,
    SUMMARY_PATH,
    Counts,
    build_fingerprint,
    check_output,
    claim_output,
    committed_units,
    read_plan,
    write_plan,
)
from rank1_batch.progress import JobProgress
from rank1_batch.retries import count_retries
from rank1_batch.stages.finish import Judged, add_receipt, build_summary, count_committed
from rank1_batch.stages.judge import JudgeSpec
from rank1_batch.stages.plan import open_input, plan_units
from rank1_batch.stages.rank import rank_units
from rank1_batch.storage import Store, delete_file, open_store, read_bytes, write_bytes
from rank1_batch.units import Unit
from rank1_batch.versions import find_versions

DONE, BAD_INPUT_SKIPPED = 0, 3


class Outcome(NamedTuple):
    """How a job ended: its summary, and the exit code for it."""

    summary: dict[str, Any]
    exit_code: int
    nothing_to_do: bool = False


class _Work(NamedTuple):
    """What there is to do: all units, those without judgments, and how long planning took."""

    input_url: str
    output: Store
    units: list[Unit]
    pending: list[Unit]
    bad_files: list[str]
    plan_s: float
    retries_before: int


def run_rerank(config: RerankConfig, console: Console) -> Outcome:
    """Judge what is not yet judged. Returns when every row in has its row out."""
    work = _plan(config)
    if not work.pending and (summary := _read_summary(work.output)):
        return Outcome(summary, _exit_code(summary), nothing_to_do=True)
    _tell_plan(work, console)
    judged = _judge(work, config, console) if work.pending else Judged()
    with _in_mid_run():
        return _finish(work, judged)


def _read_summary(output: Store) -> dict[str, Any] | None:
    """The summary of a job that came to its end; None where it did not."""
    summary = read_bytes(output, SUMMARY_PATH)
    ended = read_bytes(output, SUCCESS_PATH) is not None
    return dict(json.loads(summary)) if summary and ended else None


def _plan(config: RerankConfig) -> _Work:
    start, retries_before = time.monotonic(), count_retries()
    source, files = open_input(config.input)
    output = open_store(config.output.path)
    planned = read_plan(output)
    plan = plan_units(source, files, config.input, planned)
    check_output(output, build_fingerprint(config), fresh=config.run.fresh)
    committed = committed_units(output)
    pending = [unit for unit in plan.units if unit.unit_id not in committed]
    return _Work(source.url, output, plan.units, pending, plan.bad_files, time.monotonic() - start, retries_before)


def _tell_plan(work: _Work, console: Console) -> None:
    rows = sum(unit.pairs for unit in work.units)
    files = len({unit.path for unit in work.units})
    shards = f"{files} file{'s' if files != 1 else ''}"
    done = len(work.units) - len(work.pending)
    resumed = f"; {done} units are judged already, going on" if done else ""
    console.print(f"{rows} rows in {shards}, {len(work.units)} units{resumed}", highlight=False)


def _judge(work: _Work, config: RerankConfig, console: Console) -> Judged:
    """Judge the pending units; what was seen of it."""
    # Ray takes seconds to import: settings and input are checked before.
    from rank1_batch.cluster import connect
    from rank1_batch.stages.stream import stream_units

    pending = {unit.unit_id for unit in work.pending}
    before = count_committed(work.output, [unit for unit in work.units if unit.unit_id not in pending])
    total = sum(unit.pairs for unit in work.units)
    _check_error_rate(before, total, config.output.max_error_rate)
    spec = JudgeSpec(config, work.input_url, work.output.url, find_versions())
    with connect(config.cluster, config.engine) as logs:
        # The first things that are written: nothing that can be checked beforehand is wrong.
        claim_output(work.output, build_fingerprint(config))
        write_plan(work.output, work.units)
        delete_file(work.output, SUCCESS_PATH)
        console.print(f"logs of Ray and the engine: {logs}", highlight=False, soft_wrap=True)
        progress = JobProgress(console, total, len(work.units), before, len(work.units) - len(work.pending))
        judged, start, first = Judged(), time.monotonic(), None
        with _in_mid_run(), progress.show(config.run.log_every_s):
            for receipt in stream_units(work.pending, spec, config.cluster, config.engine):
                first = first or time.monotonic() - receipt.seconds
                judged = add_receipt(judged, receipt)
                progress.add(receipt.counts, receipt.seconds)
                _check_error_rate(progress.counts, total, config.output.max_error_rate)
        load_s = (first or start) - start
        return judged._replace(load_s=load_s, judge_s=time.monotonic() - start - load_s)


@contextmanager
def _in_mid_run() -> Iterator[None]:
    """What the store refuses while a job runs counts as its failure: it was allowed when the job began."""
    try:
        yield
    except AccessError as error:
        message = f"{error}\nIt was there, and allowed, when this run began. What was committed is kept: run again."
        raise StorageError(message) from error


def _check_error_rate(counts: Counts, total_rows: int, limit: float) -> None:
    """Raises ErrorRateError as soon as the errors exceed the limit for the whole job, judged or not."""
    if counts.errors > limit * total_rows:
        raise ErrorRateError(
            f"{counts.errors} of {total_rows} rows have failed, more than output.max_error_rate={limit:g} allows. "
            "All judged rows are kept; the `error` column says why rows failed. "
            "Run again with a higher output.max_error_rate to go on."
        )


def _finish(work: _Work, judged: Judged) -> Outcome:
    """Check that every row is there, rank, and write the summary."""
    start = time.monotonic()
    unread = {unit_id for unit_id, _ in judged.failures}
    units = [unit for unit in work.units if unit.unit_id not in unread]
    counts = count_committed(work.output, units)
    ranked = rank_units(work.output, units)
    finish_s = time.monotonic() - start
    seconds = {"plan": work.plan_s, "load": judged.load_s, "judge": judged.judge_s, "finish": finish_s}
    bad_files = [*work.bad_files, *(reason for _, reason in judged.failures)]
    retries = judged.storage_retries + count_retries() - work.retries_before
    judged = judged._replace(storage_retries=retries)
    summary = build_summary(counts, ranked, judged, seconds, bad_files)
    write_bytes(work.output, SUMMARY_PATH, json.dumps(summary, indent=2).encode())
    write_bytes(work.output, SUCCESS_PATH, b"")
    return Outcome(summary, _exit_code(summary))


def _exit_code(summary: dict[str, Any]) -> int:
    return BAD_INPUT_SKIPPED if summary["bad_files"] else DONE
