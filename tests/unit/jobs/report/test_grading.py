"""Measures by people's grades, a bucket of queries at a time."""

import pytest

from rank1_batch.jobs.report.grading import Grading
from tests.unit.jobs.report.test_queries import Loose, build

QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"a": 0, "b": 2}, "q3": {"c": 1}}

ROWS: list[Loose] = [
    ("q1", "a", 0.9, 2, None),
    ("q1", "b", 0.2, 1, None),
    ("q2", "a", 0.7, 1, None),
    ("q2", "b", 0.6, 2, None),
    ("q9", "a", 0.6, 1, None),
]


def grade(rows: list[Loose]) -> Grading:
    grading = Grading(QRELS, ["RR@10"], 1)
    for query in build(rows, QRELS):
        grading.add([query])
    return grading


def test_queries_that_come_one_by_one_are_measured_together() -> None:
    found = grade(ROWS).finish(zero=False)
    assert found is not None
    (measure,) = found.measures
    assert (measure.comparison.first_stage, measure.comparison.value) == (0.5, 0.75)
    assert found.gains == {"q1": 0.5, "q2": 0.0}
    assert (found.queries, found.without_candidates) == (2, 1)
    assert (found.agreement.both, found.agreement.label_only, found.agreement.neither) == (0, 0, 0)
    assert [one["pairs"] for one in found.reliability["bins"]] == [1, 1, 1, 1]


def test_queries_without_candidates_count_as_0_where_that_is_asked() -> None:
    found = grade(ROWS).finish(zero=True)
    assert found is not None
    assert found.measures[0].comparison.value == pytest.approx(0.5)
    assert (found.queries, found.without_candidates) == (3, 1)


def test_without_a_first_stage_the_interval_is_that_of_the_value() -> None:
    found = grade([(*row[:3], None, None) for row in ROWS]).finish(zero=False)
    assert found is not None
    (measure,) = found.measures
    assert (measure.comparison.difference, found.has_first_stage, found.gains) == (None, False, {})
    assert measure.interval is not None
    assert measure.interval.low <= measure.comparison.value <= measure.interval.high


def test_where_no_query_has_grades_there_is_nothing_to_say() -> None:
    assert grade([("q9", "a", 0.6, 1, None)]).finish(zero=True) is None
