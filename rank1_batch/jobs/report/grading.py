"""Measures the new order and the labels by people's grades, query by query. Knows nothing about files."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rank1_batch.jobs.report.queries import ReportedQuery
from rank1_batch.measuring.agreement import Agreement, Labelled, count_agreement
from rank1_batch.measuring.comparison import Comparison, compare, subtract
from rank1_batch.measuring.intervals import Interval, find_intervals
from rank1_batch.measuring.measures import Qrels, Values, measure_order, parse_measures
from rank1_batch.measuring.reliability import build_reliability


class MeasuredOrder(NamedTuple):
    """A measure of both orders, with the interval of the difference, or of the value if there is no first stage."""

    name: str
    comparison: Comparison
    interval: Interval | None


class GradedFigures(NamedTuple):
    """What people's grades say. `gains` is the difference of the first measure, by query."""

    measures: list[MeasuredOrder]
    gains: dict[str, float]
    has_first_stage: bool
    queries: int
    without_candidates: int
    agreement: Agreement
    reliability: dict[str, Any]


class Grading:
    """Measures queries as they come. Call `add` with each bucket of queries, then `finish`."""

    def __init__(self, grades: Qrels, measures: Sequence[str], relevance_threshold: int) -> None:
        self._grades, self._threshold = grades, relevance_threshold
        self._measures = parse_measures(measures)
        self._ours: Values = {str(measure): {} for measure in self._measures}
        self._first: Values = {str(measure): {} for measure in self._measures}
        self._agreement = [0] * len(Agreement._fields)
        self._scores: list[float] = []
        self._relevant: list[bool] = []
        self._has_first_stage = True

    def add(self, queries: Sequence[ReportedQuery]) -> dict[str, float]:
        """Measure the queries that have grades. Returns the difference of the first measure for each of them."""
        graded = [query for query in queries if query.query_id in self._grades]
        qrels = {query.query_id: self._grades[query.query_id] for query in graded}
        self._has_first_stage = self._has_first_stage and all(query.first_stage is not None for query in graded)
        ours = measure_order({query.query_id: query.order() for query in graded}, qrels, self._measures)
        first = measure_order({query.query_id: query.first_stage or [] for query in graded}, qrels, self._measures)
        for name in self._ours:
            self._ours[name] |= ours[name]
            self._first[name] |= first[name]
        for query in graded:
            self._add_labels(query)
        name = str(self._measures[0])
        return subtract(ours[name], first[name]) if self._has_first_stage else {}

    def finish(self, *, zero: bool) -> GradedFigures | None:
        """All figures; None if no query has grades. With `zero`, queries without candidates count as 0."""
        name = str(self._measures[0])
        if not self._ours[name]:
            return None
        absent = {query_id: own for query_id, own in self._grades.items() if query_id not in self._ours[name]}
        if zero:
            nothing = measure_order({}, absent, self._measures)
            for each in self._ours:
                self._ours[each] |= nothing[each]
                self._first[each] |= nothing[each]
        first = self._first if self._has_first_stage else None
        return GradedFigures(
            self._compare(first),
            subtract(self._ours[name], first[name]) if first else {},
            self._has_first_stage,
            len(self._ours[name]),
            len(absent),
            Agreement(*self._agreement),
            build_reliability(np.array(self._scores), np.array(self._relevant, dtype=np.bool_)),
        )

    def _add_labels(self, query: ReportedQuery) -> None:
        labels = [Labelled(query.query_id, row.doc_id, row.label, row.score) for row in query.rows]
        found = count_agreement(labels, self._grades, self._threshold)
        self._agreement = [a + b for a, b in zip(self._agreement, found, strict=True)]
        for row in query.rows:
            if row.grade is not None and row.score is not None:
                self._scores.append(row.score)
                self._relevant.append(row.grade >= self._threshold)

    def _compare(self, first: Values | None) -> list[MeasuredOrder]:
        found = compare(self._measures, self._ours, first)
        columns = [
            list((subtract(self._ours[name], first[name]) if first else self._ours[name]).values()) for name in found
        ]
        intervals = find_intervals(np.array(columns, dtype=np.float64))
        return [
            MeasuredOrder(name, one, interval) for (name, one), interval in zip(found.items(), intervals, strict=True)
        ]
