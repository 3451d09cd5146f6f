"""Bars, ticks and whiskers: where they stand, and that nothing that was counted is lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.report.charts import (
    CHART_WIDTH,
    GAINS_SHOWN,
    LEAST_BAR,
    Bin,
    bin_counts,
    describe_middle,
    draw_gains,
    draw_histogram,
    draw_whisker,
)


def describe(low: int, high: int, count: int) -> Bin:
    return Bin(low, high, count, f"{count} rows")


@given(st.dictionaries(st.integers(-50, 50), st.integers(1, 9)), st.integers(1, 7))
def test_bins_hold_every_row_also_those_beyond_the_ends(counts: dict[int, int], step: int) -> None:
    bins = bin_counts(Counter(counts), -20, 20, step, describe)
    assert sum(one.rows for one in bins) == sum(counts.values())
    assert [one.low for one in bins] == [-20 + step * place for place in range(len(bins))]


def test_bars_stand_side_by_side_and_a_single_row_can_be_seen() -> None:
    bins = [Bin(0, 1, 10_000, "many"), Bin(1, 2, 1, "one"), Bin(2, 3, 0, "none")]
    chart = draw_histogram("Title", "Summary.", bins, {0: "0", 3: "3"}, {1.5: "limit"})
    assert [bar.height for bar in chart.bars][1:] == [LEAST_BAR, 0]
    assert all(a.x + a.width <= b.x for a, b in zip(chart.bars, chart.bars[1:], strict=False))
    assert chart.bars[-1].x + chart.bars[-1].width <= CHART_WIDTH
    assert [tick.anchor for tick in chart.ticks] == ["start", "end"]
    assert chart.bars[1].x < chart.markers[0].x < chart.bars[1].x + chart.bars[1].width


def test_gains_are_drawn_from_the_most_gained_to_the_most_lost() -> None:
    chart = draw_gains({"q1": -0.2, "q&2": 0.4, "q3": 0.0}, "nDCG@10")
    assert chart is not None
    assert [bar.link for bar in chart.bars] == ["q=q%262", "q=q3", "q=q1"]
    assert chart.summary == "nDCG@10: 1 gained and 1 lost, of 3 queries."
    assert chart.bars[0].y < chart.base <= chart.bars[2].y


def test_of_many_queries_some_are_drawn_and_without_a_difference_none() -> None:
    chart = draw_gains({f"q{place}": place / 5000 for place in range(5000)}, "AP")
    assert chart is not None
    assert len(chart.bars) <= GAINS_SHOWN
    assert draw_gains({"q1": 0.0}, "AP") is None
    assert draw_gains({}, "AP") is None


def test_a_whisker_has_zero_in_the_middle() -> None:
    assert draw_whisker(0.0, -0.5, 0.5, 0.5) == (2, 50, 98)
    low, value, high = draw_whisker(0.1, 0.05, 0.2, 0.4)
    assert 50 < low < value < high < 98


def test_the_middle_of_nothing_is_nothing() -> None:
    assert describe_middle(Counter()) == {}
    assert describe_middle(Counter({3: 19, 8: 1})) == pytest.approx({"median": 3, "p95": 3})
