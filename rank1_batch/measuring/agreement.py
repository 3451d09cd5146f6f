"""Compares the model's labels with people's grades: precision, recall and Cohen's kappa. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from rank1_batch.measuring.measures import Qrels


class Agreement(NamedTuple):
    """How often the label and the relevance of a graded pair agree.

    The counts are numbers of pairs. A share is None if there are no pairs for it. `unjudged` pairs have
    a label and no grade. `unlabelled` pairs have a grade and no label, because their row failed.
    """

    both: int
    label_only: int
    relevance_only: int
    neither: int
    unjudged: int
    unlabelled: int

    @property
    def precision(self) -> float | None:
        """The share of relevant pairs among those labelled true."""
        return _share(self.both, self.both + self.label_only)

    @property
    def recall(self) -> float | None:
        """The share of pairs labelled true among the relevant ones."""
        return _share(self.both, self.both + self.relevance_only)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960): agreement beyond chance, given how often each side says true. 1 is full agreement."""
        pairs = self.both + self.label_only + self.relevance_only + self.neither
        if not pairs:
            return None
        labelled, relevant = self.both + self.label_only, self.both + self.relevance_only
        observed = (self.both + self.neither) / pairs
        expected = (labelled * relevant + (pairs - labelled) * (pairs - relevant)) / pairs**2
        return _share(observed - expected, 1 - expected)


def count_agreement(labels: Iterable[tuple[str, str, bool | None]], qrels: Qrels, threshold: int) -> Agreement:
    """The agreement over rows of (query_id, doc_id, label), for queries that have grades.

    A grade of `threshold` or more is relevant. A repeated pair counts once, with its first label.
    """
    counts = dict.fromkeys(Agreement._fields, 0)
    seen: set[tuple[str, str]] = set()
    for query_id, doc_id, label in labels:
        if query_id not in qrels or (query_id, doc_id) in seen:
            continue
        seen.add((query_id, doc_id))
        counts[_cell(label, qrels[query_id].get(doc_id), threshold)] += 1
    return Agreement(**counts)


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
