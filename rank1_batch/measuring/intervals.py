"""Intervals of means over queries, by bootstrap: whole queries are drawn with replacement. Pure."""

from typing import NamedTuple

import numpy as np

from rank1_batch.measuring.reliability import Floats

RESAMPLES = 1000

DRAWN_AT_ONCE = 50

ENDS = (2.5, 97.5)


class Interval(NamedTuple):
    """The ends of a 95 % interval."""

    low: float
    high: float


def find_intervals(values: Floats, seed: int = 0) -> list[Interval | None]:
    """The interval of each row's mean. A row has a value for each query. None for fewer than two queries.

    All rows share the drawn queries. The same values give the same intervals.
    """
    rows, queries = values.shape
    if queries < 2:  # noqa: PLR2004 # one query says nothing about how queries differ
        return [None] * rows
    chance, equal = np.random.default_rng(seed), np.full(queries, 1 / queries)
    means = [
        values @ (chance.multinomial(queries, equal, DRAWN_AT_ONCE).T / queries)
        for _ in range(RESAMPLES // DRAWN_AT_ONCE)
    ]
    low, high = np.percentile(np.concatenate(means, axis=1), ENDS, axis=1)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]
