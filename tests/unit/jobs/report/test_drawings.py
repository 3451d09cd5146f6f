"""The charts of the first page: each counts every row that it is about."""

import re

import pytest

from rank1_batch.jobs.report.drawings import draw_charts
from tests.unit.jobs.report.test_figures import count, make_row


def rows_of(titles: list[str]) -> int:
    """The rows that the bars of a chart speak of."""
    found = [re.findall(r"^([\d,]+) rows", title) for title in titles]
    return sum(int(number.replace(",", "")) for numbers in found for number in numbers)


ROWS = [
    make_row(place, was=1 + (place * 37) % 90, score=place / 90, trace_tokens=place * 7, prompt_tokens=300 + place)
    for place in range(90)
]


@pytest.mark.parametrize("name", ["scores", "odds", "prompts", "traces", "moves"])
def test_every_row_is_in_a_bar(name: str) -> None:
    chart = draw_charts(count(ROWS), 8192)[name]
    assert rows_of([bar.title for bar in chart.bars]) == len(ROWS)


def test_rows_that_stayed_stand_in_the_middle() -> None:
    rows = [make_row(place, was=place + 1 + moved) for place, moved in enumerate([0, 0, 5, -40, 44])]
    bars = draw_charts(count(rows), None)["moves"].bars
    middle = bars[len(bars) // 2]
    assert (middle.title, middle.tone) == ("2 rows stayed", "plain")
    assert [bar.tone for bar in bars if bar.height] == ["down", "plain", "up", "up"]


def test_the_budget_is_marked_where_it_is_near_what_was_used() -> None:
    assert [marker.text for marker in draw_charts(count(ROWS), 640)["traces"].markers] == ["budget 640"]
    assert draw_charts(count(ROWS), 8192)["traces"].markers == []


def test_errors_alone_have_no_charts_of_scores() -> None:
    failed = make_row(0, score=None, label=None, finish="error", error="no", was=None)
    assert draw_charts(count([failed]), 100) == {}
