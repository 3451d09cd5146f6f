"""Compares the model's labels with people's grades: precision, recall and Cohen's kappa. Pure."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from rank1_batch.measuring.measures import Qrels


class Labelled(NamedTuple):
    """A judged row: its pair, the model's label and its score. Both are None if the row failed."""

    query_id: str
    doc_id: str
    label: bool | None
    score: float | None


class Agreement(NamedTuple):
    """How often the label and the relevance of a graded pair agree.

    The counts are numbers of pairs. A share is None if there are no pairs for it. `unjudged` pairs have
    a label and no grade. `unlabelled` pairs have a grade and no label, because their row failed. One-sided
    grades, all relevant or all not, can show no precision and no kappa: those would be the same for any labels.
    """

    both: int
    label_only: int
    relevance_only: int
    neither: int
    unjudged: int
    unlabelled: int

    @property
    def one_sided(self) -> bool:
        """Whether no pair is relevant, or none is not."""
        return not (self.both + self.relevance_only and self.label_only + self.neither)

    @property
    def precision(self) -> float | None:
        """The share of relevant pairs among those labelled true. None with one-sided grades."""
        return None if self.one_sided else _share(self.both, self.both + self.label_only)

    @property
    def recall(self) -> float | None:
        """The share of pairs labelled true among the relevant ones."""
        return _share(self.both, self.both + self.relevance_only)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960): agreement beyond chance, given how often each side says true. 1 is full agreement."""
        pairs = self.both + self.label_only + self.relevance_only + self.neither
        if self.one_sided:
            return None
        labelled, relevant = self.both + self.label_only, self.both + self.relevance_only
        observed = (self.both + self.neither) / pairs
        expected = (labelled * relevant + (pairs - labelled) * (pairs - relevant)) / pairs**2
        return _share(observed - expected, 1 - expected)


def count_agreement(rows: Iterable[Labelled], qrels: Qrels, threshold: int) -> Agreement:
    """The agreement over judged rows, for queries that have grades.

    A grade of `threshold` or more is relevant. A pair that is there twice counts once, with its better
    score, as in the ranking and in `jobs.export`.
    """
    best: dict[tuple[str, str], Labelled] = {}
    for row in rows:
        pair = (row.query_id, row.doc_id)
        if row.query_id in qrels and (pair not in best or _score(row) > _score(best[pair])):
            best[pair] = row
    counts = dict.fromkeys(Agreement._fields, 0)
    for (query_id, doc_id), row in best.items():
        counts[_cell(row.label, qrels[query_id].get(doc_id), threshold)] += 1
    return Agreement(**counts)


def _score(row: Labelled) -> float:
    return -math.inf if row.score is None else row.score


def _cell(label: bool | None, grade: int | None, threshold: int) -> str:
    if grade is None:
        return "unjudged"
    if label is None:
        return "unlabelled"
    if grade >= threshold:
        return "both" if label else "relevance_only"
    return "label_only" if label else "neither"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
