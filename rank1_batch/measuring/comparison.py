"""Compares one order with another, measure by measure: difference, significance, queries gained and lost. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rank1_batch.measuring.measures import Values, aggregate

LEAST_QUERIES = 2

SAME = 1e-9
"""Smaller differences are rounding errors: both orders are equally good for the query."""


class Comparison(NamedTuple):
    """A measure of our order and, if there is one, of the first stage's order.

    `p_value` is from a two-sided paired t-test over queries. It is None if it cannot be computed: no
    first stage, fewer than two queries, or the same difference for all queries.
    """

    value: float
    first_stage: float | None = None
    difference: float | None = None
    p_value: float | None = None
    gained: int | None = None
    lost: int | None = None


def compare(measures: Sequence[Any], ours: Values, first: Values | None) -> dict[str, Comparison]:
    """A comparison for each measure, by its name. Both have values for the same queries."""
    names = [(measure, str(measure)) for measure in measures]
    if first is None:
        return {name: Comparison(aggregate(measure, ours[name])) for measure, name in names}
    return {name: _compare_one(measure, ours[name], first[name]) for measure, name in names}


def subtract(ours: Mapping[str, float], first: Mapping[str, float]) -> dict[str, float]:
    """Our value minus the first stage's, by query. 0 if they differ only by rounding."""
    differences = {query: value - first[query] for query, value in ours.items()}
    return {query: 0.0 if abs(value) < SAME else value for query, value in differences.items()}


def _compare_one(measure: Any, ours: Mapping[str, float], first: Mapping[str, float]) -> Comparison:
    differences = list(subtract(ours, first).values())
    value, before = aggregate(measure, ours), aggregate(measure, first)
    return Comparison(
        value=value,
        first_stage=before,
        difference=value - before,
        p_value=_paired_t_test(differences),
        gained=sum(difference > 0 for difference in differences),
        lost=sum(difference < 0 for difference in differences),
    )


def _paired_t_test(differences: Sequence[float]) -> float | None:
    """The p-value of Student's two-sided paired t-test: how likely a mean as large as this is by chance alone."""
    if len(differences) < LEAST_QUERIES or max(differences) - min(differences) < SAME:
        return None
    # scipy takes a second to import.
    from scipy.stats import ttest_1samp

    p_value = float(ttest_1samp(differences, 0.0).pvalue)
    return None if math.isnan(p_value) else p_value
