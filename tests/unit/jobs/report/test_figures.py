"""What is counted over queries, and which rows are shown."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.report.figures import EXAMPLES_SHOWN, Figures, choose_step, find_quantile
from rank1_batch.jobs.report.queries import ReportedQuery, ReportedRow


def make_row(place: int, **changes: Any) -> ReportedRow:
    row = ReportedRow(
        place, f"d{place}", place + 1, place + 1, 0.9, -0.1, -2.3, True, "complete", None, 100, 50, False, None, "text",
        "because", None, "unit", place, None,
    )  # fmt: skip
    return row._replace(**changes)


def count(rows: list[ReportedRow]) -> Figures:
    figures = Figures()
    for row in rows:
        figures.add(ReportedQuery(f"q{row.place}", "what", row.place, [row], [row.doc_id]))
    return figures


def shown(figures: Figures, name: str) -> list[int]:
    return [one.row.place for one in figures.examples(name)]


def test_every_row_is_counted_once() -> None:
    failed = make_row(2, score=None, label=None, true_logprob=None, false_logprob=None, finish="error", error="no")
    figures = count([make_row(0), make_row(1, label=False, score=0.02), failed])
    assert (figures.queries, figures.rows) == (3, 3)
    assert figures.finishes == {"complete": 2, "error": 1}
    assert figures.labels == {True: 1, False: 1}
    assert figures.scores.total() == figures.odds.total() == figures.trace_tokens.total() == 2
    assert figures.moves.total() == 3


def test_scores_of_0_and_1_and_endless_log_odds_are_counted_at_the_ends() -> None:
    sure = make_row(0, score=1.0, true_logprob=0.0, false_logprob=-800.0)
    figures = count([sure, make_row(1, score=0.0, true_logprob=-40.0, false_logprob=0.0)])
    assert set(figures.scores) == {0, 19}
    assert set(figures.odds) == {-15, 14}


def test_the_examples_are_the_heaviest_in_whatever_order_rows_come() -> None:
    rows = [make_row(place, was=place + 1 + place % 7, score=place / 40) for place in range(40)]
    expected = sorted(range(40), key=lambda place: (-(place % 7), place))[:EXAMPLES_SHOWN]
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert shown(count(rows), "up") == expected
        assert shown(count(rows), "unsure")[0] == 20


def test_each_kind_takes_its_own() -> None:
    rows = [
        make_row(0, was=9),
        make_row(8, was=1),
        make_row(10, grade=0),
        make_row(11, grade=2),
        make_row(12, finish="closed"),
        make_row(13, trace_tokens=900),
        make_row(14, finish="error", score=None, error="no"),
        make_row(15, was=None),
    ]
    figures = count(rows)
    assert shown(figures, "up") == [0]
    assert shown(figures, "down") == [8]
    assert shown(figures, "disagree") == [10]
    assert shown(figures, "closed") == [12]
    assert shown(figures, "longest")[0] == 13
    assert shown(figures, "errors") == [14]
    places = [one.row.place for one in figures.all_examples()]
    assert places == sorted(set(places))


@given(st.lists(st.integers(0, 300), min_size=1), st.sampled_from([0.05, 0.5, 0.95]))
def test_quantiles_are_those_of_numpy(values: list[int], share: float) -> None:
    assert find_quantile(Counter(values), share) == np.quantile(values, share, method="inverted_cdf")


def test_of_nothing_there_is_no_quantile() -> None:
    assert find_quantile(Counter(), 0.5) is None


@pytest.mark.parametrize(("largest", "step"), [(0, 1), (35, 1), (36, 2), (71, 2), (72, 5), (8192, 500)])
def test_bars_have_round_widths(largest: int, step: int) -> None:
    assert choose_step(largest, 36) == step
