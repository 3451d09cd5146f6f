"""The health of a whole job: shares of its rows against limits that warn or fail.

Uses counts from the committed files, so a job that was killed and resumed gets the same result as one that was not.
Knows nothing about files, Ray or colours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rank1_batch.output.counts import Counts
from rank1_batch.output.summary import Gate
from rank1_batch.settings import GateLimits, GatesConfig

WARN, FAIL = "warn", "fail"

TRUE_LEAST = "true_least"

ROUNDED = 6


def check_gates(counts: Counts, gates: GatesConfig) -> list[Gate]:
    """Each limit that is set, beside the job's share.

    Left out are shares of no rows, and those of true rows where a handful of rows could not keep the limit.
    """
    shares = find_shares(counts)
    return [*_check_limits(shares, gates.warn, WARN), *_check_limits(shares, gates.fail, FAIL)]


def find_shares(counts: Counts) -> dict[str, tuple[int, int]]:
    """How many rows each gate counts, and of how many: of all rows for errors, of the judged ones elsewhere."""
    judged = counts.rows - counts.errors
    return {
        "errors": (counts.errors, counts.rows),
        "closed": (counts.closed, judged),
        "truncated": (counts.truncated, judged),
        "saturated": (counts.saturated, judged),
        "stray": (counts.stray, judged),
        "true_least": (counts.true_labels, judged),
        "true_most": (counts.true_labels, judged),
    }


def list_failures(gates: list[Gate], severity: str) -> list[Gate]:
    """The gates of a severity that were not passed."""
    return [gate for gate in gates if not gate.passed and gate.severity == severity]


def _check_limits(shares: Mapping[str, tuple[int, int]], limits: GateLimits, severity: str) -> Iterator[Gate]:
    values: dict[str, Any] = asdict(limits)
    for name, limit in values.items():
        count, total = shares[name]
        if limit is None or total == 0 or (name.startswith("true_") and _is_too_small(name, total, limit)):
            continue
        share = count / total
        passed = share >= limit if name == TRUE_LEAST else share <= limit
        yield Gate(name, round(share, ROUNDED), limit, passed, severity)


def _is_too_small(name: str, total: int, limit: float) -> bool:
    """Whether so few rows could not be expected to hold one true (or false) row at this limit."""
    rare = limit if name == TRUE_LEAST else 1 - limit
    return total * rare < 1
