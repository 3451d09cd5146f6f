"""Measures over groups of queries: which queries count, which belong together, and one value for each group. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from rank1_batch.errors import SettingsError
from rank1_batch.measuring.measures import Values

IDS_SHOWN = 3

T = TypeVar("T")


class Aggregate(StrEnum):
    """How the values of a group become one: their mean, the least of them, or 1 if all are 1 and otherwise 0.

    `all` over P@1 or R@1 is NevIR's pairwise accuracy, and `min` over nDCG@10 is InstructIR's robustness@10
    (mteb's `paired_accuracy` and `robustness_at_10`).
    """

    MEAN = "mean"
    MIN = "min"
    ALL = "all"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


AGGREGATES: Mapping[Aggregate, Callable[[Sequence[float]], float]] = {
    Aggregate.MEAN: _mean,
    Aggregate.MIN: min,
    Aggregate.ALL: lambda values: float(all(value == 1 for value in values)),
}


def filter_queries(found: Mapping[str, T], pattern: str | None) -> dict[str, T]:
    """The entries of queries in whose id the pattern is found; all without a pattern."""
    return {query: value for query, value in found.items() if pattern is None or re.search(pattern, query)}


def find_groups(query_ids: Iterable[str], pattern: str) -> dict[str, str]:
    """The group of each query: what the pattern's parentheses hold, or all that it finds.

    Raises SettingsError if the pattern is not found in an id.
    """
    found = {query_id: re.search(pattern, query_id) for query_id in query_ids}
    missing = sorted(query_id for query_id, match in found.items() if match is None)
    if missing:
        shown = ", ".join(missing[:IDS_SHOWN])
        raise SettingsError([f"group_by={pattern} is not found in {len(missing)} graded query ids: {shown}, …"])
    return {
        query_id: "".join(part or "" for part in match.groups()) or match[0]
        for query_id, match in found.items()
        if match
    }


def group_values(values: Values, groups: Mapping[str, str], how: Aggregate) -> Values:
    """A value for each measure and group, from the values of its queries."""
    return {measure: _group(own, groups, AGGREGATES[how]) for measure, own in values.items()}


def _group(
    values: Mapping[str, float], groups: Mapping[str, str], aggregate: Callable[[Sequence[float]], float]
) -> dict[str, float]:
    members: dict[str, list[float]] = {}
    for query, value in values.items():
        members.setdefault(groups[query], []).append(value)
    return {group: aggregate(own) for group, own in members.items()}
