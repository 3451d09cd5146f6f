"""Intervals of means: SciPy's bootstrap is the judge."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from rank1_batch.measuring.intervals import find_intervals


def test_an_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).normal(0.1, 0.3, (2, 60))
    for row, interval in zip(values, find_intervals(values), strict=True):
        expected = bootstrap((row,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
        assert interval == pytest.approx((expected.low, expected.high), abs=0.012)


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(3).random((3, 20))
    assert find_intervals(values) == find_intervals(values)


def test_equal_values_have_an_interval_without_width_and_one_query_has_none() -> None:
    assert find_intervals(np.full((1, 5), 0.25)) == [pytest.approx((0.25, 0.25))]
    assert find_intervals(np.ones((2, 1))) == [None, None]
