"""Counts what the first page shows, query by query: distributions, moves and examples. Knows nothing about files.

Memory does not grow with the rows: a count for each number of tokens or places, and a few rows of each kind of example.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rank1_batch.jobs.report.queries import ReportedQuery, ReportedRow
from rank1_batch.judging.records import Finish

SCORE_STEPS = 20

MOST_ODDS = 15
"""Log-odds beyond this count as this."""

TOP_PLACES = 10

EXAMPLES_SHOWN = 4
"""How many examples of each kind."""

UNSURE = 0.5


class Shown(NamedTuple):
    """A row to look at, and its query."""

    query_id: str
    query_text: str | None
    row: ReportedRow


class ExampleKind(NamedTuple):
    """A kind of example. `weigh` gives None for rows that are not of it; the largest weights are shown."""

    name: str
    title: str
    about: str
    weigh: Callable[[ReportedRow], float | None]


def list_kinds(relevance_threshold: int) -> list[ExampleKind]:
    """The kinds of examples, in the order of the page."""
    return [
        ExampleKind("up", "Moved up most", "Places won against the first stage.", lambda row: _over_zero(row.moved)),
        ExampleKind(
            "down", "Moved down most", "Places lost against the first stage.", lambda row: _over_zero(_lost(row))
        ),
        ExampleKind(
            "disagree",
            "Verdict against grade",
            "The model and people disagree, and the model is surest.",
            lambda row: _disagrees(row, relevance_threshold),
        ),
        ExampleKind("unsure", "Nearest to 0.5", "The model could not decide.", _unsure),
        ExampleKind("closed", "Closed at the limit", "The reasoning had no end within its budget.", _closed),
        ExampleKind("longest", "Longest reasoning", "Of those that ended by themselves.", _longest),
        ExampleKind("errors", "Errors", "These rows have no score.", _failed),
    ]


class Figures:
    """What was counted over queries. Call `add` once for each query."""

    def __init__(self, relevance_threshold: int = 1) -> None:
        self.queries = self.rows = self.moved_rows = self.graded = 0
        self.finishes: Counter[str] = Counter()
        self.labels: Counter[bool] = Counter()
        self.scores: Counter[int] = Counter()
        self.odds: Counter[int] = Counter()
        self.trace_tokens: Counter[int] = Counter()
        self.prompt_tokens: Counter[int] = Counter()
        self.moves: Counter[int] = Counter()
        self.top_was: Counter[int] = Counter()
        self.truncated = 0
        self.kinds = list_kinds(relevance_threshold)
        self._examples: dict[str, list[tuple[float, int, Shown]]] = {kind.name: [] for kind in self.kinds}

    def add(self, query: ReportedQuery) -> None:
        """Count a query's rows, and keep those that are examples."""
        self.queries += 1
        self.rows += len(query.rows)
        for row in query.rows:
            self.finishes[row.finish] += 1
            self.truncated += row.passage_truncated
            self.graded += row.grade is not None
            if row.score is not None:
                self._add_judged(row, row.score)
            if row.was is not None:
                self._add_move(row, row.was)
            for kind in self.kinds:
                weight = kind.weigh(row)
                if weight is not None:
                    self._offer(kind.name, weight, Shown(query.query_id, query.text, row))

    def examples(self, name: str) -> list[Shown]:
        """The examples of a kind, the best first."""
        return [example for _, _, example in sorted(self._examples[name], reverse=True, key=lambda one: one[:2])]

    def all_examples(self) -> list[Shown]:
        """The examples of all kinds, each row once, in the order of the input."""
        found = {example.row.place: example for kind in self.kinds for example in self.examples(kind.name)}
        return [found[place] for place in sorted(found)]

    def _add_judged(self, row: ReportedRow, score: float) -> None:
        self.labels[bool(row.label)] += 1
        self.scores[min(int(score * SCORE_STEPS), SCORE_STEPS - 1)] += 1
        self.trace_tokens[row.trace_tokens] += 1
        self.prompt_tokens[row.prompt_tokens] += 1
        odds = row.log_odds
        if odds is not None:
            self.odds[math.floor(max(-MOST_ODDS, min(odds, MOST_ODDS - 1)))] += 1

    def _add_move(self, row: ReportedRow, was: int) -> None:
        self.moved_rows += 1
        self.moves[was - row.rank] += 1
        if row.rank <= TOP_PLACES:
            self.top_was[was] += 1

    def _offer(self, name: str, weight: float, example: Shown) -> None:
        """Keep the example if it weighs more than the lightest one, or as much and stands before it."""
        held = self._examples[name]
        entry = (weight, -example.row.place, example)
        if len(held) < EXAMPLES_SHOWN:
            heapq.heappush(held, entry)
        elif entry[:2] > held[0][:2]:
            heapq.heapreplace(held, entry)


def find_quantile(counts: Counter[int], share: float) -> int | None:
    """The smallest value that at least this share of what was counted does not exceed; None if nothing was counted."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


def choose_step(largest: int, bars: int, steps: Sequence[int] = (1, 2, 5)) -> int:
    """The smallest round width with which so many bars reach from 0 to the largest value."""
    power = 1
    while True:
        for step in steps:
            if step * power * bars > largest:
                return step * power
        power *= 10


def _over_zero(places: int | None) -> float | None:
    return places if places is not None and places > 0 else None


def _lost(row: ReportedRow) -> int | None:
    return None if row.moved is None or row.score is None else -row.moved


def _disagrees(row: ReportedRow, threshold: int) -> float | None:
    if row.grade is None or row.score is None or row.label is None or row.label == (row.grade >= threshold):
        return None
    return abs(row.score - UNSURE)


def _unsure(row: ReportedRow) -> float | None:
    return None if row.score is None else -abs(row.score - UNSURE)


def _closed(row: ReportedRow) -> float | None:
    return row.score if row.finish == Finish.CLOSED else None


def _longest(row: ReportedRow) -> float | None:
    return row.trace_tokens if row.finish == Finish.COMPLETE else None


def _failed(row: ReportedRow) -> float | None:
    return 0.0 if row.finish == Finish.ERROR else None
