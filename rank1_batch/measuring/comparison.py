"""Compares one order with another, measure by measure: difference, significance, queries gained and lost. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rank1_batch.measuring.measures import Values, aggregate

LEAST_QUERIES = 2

UNTESTED = ("Judged",)
"""Measures without a p-value: how many of the first k have a grade says nothing about how good they are."""

SAME = 1e-9
"""Smaller differences are rounding errors: both orders are equally good for the query."""


class Comparison(NamedTuple):
    """A measure of our order and, if there is one, of the first stage's order.

    `p_value` is from a two-sided paired t-test over queries. It is None if it cannot be computed: no
    first stage, fewer than two queries, or the same difference for all queries. It is also None for
    Judged@k, which says how well an order is known, not how good it is. `p_holm` is corrected for the
    number of measures that are tested.
    """

    value: float
    first_stage: float | None = None
    difference: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    gained: int | None = None
    lost: int | None = None


def compare(measures: Sequence[Any], ours: Values, first: Values | None) -> dict[str, Comparison]:
    """A comparison for each measure, by its name. Both have values for the same queries."""
    names = [(measure, str(measure)) for measure in measures]
    if first is None:
        return {name: Comparison(aggregate(measure, ours[name])) for measure, name in names}
    found = {name: _compare_one(measure, ours[name], first[name]) for measure, name in names}
    corrected = correct_holm({name: one.p_value for name, one in found.items() if one.p_value is not None})
    return {name: one._replace(p_holm=corrected.get(name)) for name, one in found.items()}


def correct_holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction (1979): p-values that stay valid when all of them are looked at."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_value))
        corrected[name] = largest
    return corrected


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
        p_value=None if measure.NAME in UNTESTED else _paired_t_test(differences),
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
