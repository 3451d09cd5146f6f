"""After the last unit: rows in = rows out is checked, and the summary is made."""

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rank1_batch.output.counts import Counts, add_counts
from rank1_batch.output.ranking import Ranked
from rank1_batch.output.summary import Gate, ReplicaTotals, RunTotals, Summary
from rank1_batch.replica.judge import Receipt
from rank1_batch.versions import find_versions


class Worked(NamedTuple):
    """What one replica did, and from when to when, in seconds since 1970 by the driver's clock."""

    units: int
    began_at: float
    ended_at: float


class Judged(NamedTuple):
    """What this run did, added up over receipts. `lost` counts units that were committed already.

    `load_s` are the seconds until the first replica began its first unit, `judge_s` those after.
    """

    units: int = 0
    counts: Counts = Counts()
    lost: int = 0
    sent_tokens: int = 0
    cached_tokens: int = 0
    storage_retries: int = 0
    load_s: float = 0.0
    judge_s: float = 0.0
    nodes: frozenset[str] = frozenset()
    replicas: Mapping[str, Worked] = {}
    failures: tuple[tuple[str, str], ...] = ()


def add_receipt(judged: Judged, receipt: Receipt) -> Judged:
    """The sum with one more unit in it."""
    failed = ((receipt.unit_id, receipt.failure),) if receipt.failure else ()
    return judged._replace(
        units=judged.units + 1,
        counts=add_counts(judged.counts, receipt.asked()),
        lost=judged.lost + (not receipt.won and not failed),
        sent_tokens=judged.sent_tokens + receipt.sent_tokens,
        cached_tokens=judged.cached_tokens + receipt.cached_tokens,
        storage_retries=judged.storage_retries + receipt.storage_retries,
        nodes=judged.nodes | {receipt.node},
        replicas={**judged.replicas, receipt.replica: _add_unit(judged.replicas.get(receipt.replica), receipt)},
        failures=judged.failures + failed,
    )


def _add_unit(worked: Worked | None, receipt: Receipt) -> Worked:
    now = time.time()
    began = now - (time.monotonic() - receipt.began)
    return Worked(1, began, now) if worked is None else Worked(worked.units + 1, min(began, worked.began_at), now)


def build_summary(
    counts: Counts, ranked: Ranked, gates: Sequence[Gate], bad_files: Sequence[str], this_run: RunTotals
) -> Summary:
    """What the output holds, and what this run did."""
    judged = counts.rows - counts.errors
    return Summary(
        counts=counts,
        closed_share=round(counts.closed / judged, 4) if judged else None,
        true_share=round(counts.true_labels / judged, 4) if judged else None,
        queries=ranked.queries,
        duplicate_candidates=ranked.duplicates,
        rows_not_in_run=ranked.not_in_run,
        ids_not_in_run=list(ranked.examples),
        bad_files=list(bad_files),
        gates=list(gates),
        this_run=this_run,
        versions=find_versions(),
    )


def total_run(judged: Judged, seconds: Mapping[str, float]) -> RunTotals:
    """What this run did, from its receipts and the seconds of each stage."""
    working_s = max(judged.judge_s, 1e-9)
    cached = round(judged.cached_tokens / judged.sent_tokens, 4) if judged.sent_tokens else None
    return RunTotals(
        rows=judged.counts.rows,
        units=judged.units,
        units_committed_already=judged.lost,
        nodes=len(judged.nodes),
        replicas={name: _describe_work(worked) for name, worked in judged.replicas.items()},
        seconds={stage: round(value, 2) for stage, value in seconds.items()},
        rows_per_s=round(judged.counts.rows / working_s, 2) if judged.units else None,
        trace_tokens_per_s=round(judged.counts.trace_tokens / working_s, 1) if judged.units else None,
        prefix_cache_hit_share=cached,
        storage_retries=judged.storage_retries,
    )


def _describe_work(worked: Worked) -> ReplicaTotals:
    began, ended = (
        dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds") for at in (worked.began_at, worked.ended_at)
    )
    return ReplicaTotals(worked.units, began, ended)
