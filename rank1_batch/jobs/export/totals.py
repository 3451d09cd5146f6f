"""Counts an export while it is written: rows by reason, splits, files, scores."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from rank1_batch.jobs.export.choice import Reason
from rank1_batch.jobs.export.formats import Record
from rank1_batch.jobs.export.queries import ALL, NEGATIVE, POSITIVE, Chosen

SCORE_BINS = 20

MOST_LETTERS, MOST_MEMBERS = 300, 8
"""How much of the example stands in the report."""

TRAIN, DEV = "train", "dev"


class Totals:
    """The counts over all queries."""

    def __init__(self) -> None:
        self.rows = 0
        self.left_out: Counter[Reason] = Counter()
        self.splits: dict[str, Counter[str]] = {}
        self.files: dict[str, dict[str, Counter[str]]] = {}
        self.scores = {name: np.zeros(SCORE_BINS, dtype=np.int64) for name in (ALL, POSITIVE, NEGATIVE)}
        self.labels: list[tuple[str, str, str, bool]] = []
        """query_id, doc_id, text of the query and label of the exported pairs that people have graded."""
        self.example: tuple[str, Any] | None = None
        """The first record that was written, and the name of its format."""

    @property
    def exported(self) -> int:
        """The number of exported rows."""
        return sum(split["positives"] + split["negatives"] for split in self.splits.values())

    def add_query(self, chosen: Chosen, split: str, grades: Mapping[tuple[str, str], int]) -> None:
        """Count a query and its rows."""
        self.rows += chosen.rows
        self.left_out += chosen.left_out
        for name, scores in chosen.scores.items():
            _fill_bins(self.scores[name], scores)
        query = chosen.query
        if not query.examples:
            return
        counts = {"queries": 1, "positives": len(query.positives), "negatives": len(query.negatives)}
        self.splits.setdefault(split, Counter()).update(counts)
        for example in query.examples:
            if (query.query_id, example.doc_id) in grades:
                self.labels.append((query.query_id, example.doc_id, query.text, example.positive))

    def keep_first(self, name: str, records: Iterable[Record]) -> Iterator[Record]:
        """Pass the records of a format on. The first of all is kept as an example."""
        for record in records:
            if self.example is None:
                self.example = (name, record.value)
            yield record

    def add_file(self, name: str, split: str, records: int) -> None:
        """Count a written file."""
        counts = self.files.setdefault(name, {}).setdefault(split, Counter())
        counts.update({"files": 1, "records": records})

    def check(self, expected_rows: int) -> None:
        """Raises RuntimeError unless every row was either exported or left out. A difference is a bug here."""
        if not self.rows == self.exported + self.left_out.total() == expected_rows:
            raise RuntimeError(
                f"{expected_rows} rows were judged, {self.rows} read, {self.exported} exported and "
                f"{self.left_out.total()} left out"
            )

    def describe(self) -> dict[str, Any]:
        """The counts as plain values, in a fixed order."""
        return {
            "rows": self.rows,
            "exported": self.exported,
            "left_out": {reason.name.lower(): self.left_out[reason] for reason in Reason if self.left_out[reason]},
            "splits": {name: dict(self.splits[name]) for name in sorted(self.splits, reverse=True)},
            "files": {name: {split: dict(counts) for split, counts in own.items()} for name, own in self.files.items()},
            "example": None
            if self.example is None
            else {"format": self.example[0], "record": _shorten(self.example[1])},
            "score_histogram": {name: bins.tolist() for name, bins in self.scores.items()},
        }


def _shorten(value: Any) -> Any:
    """A record with long texts cut, and of long lists the first members."""
    if isinstance(value, str):
        return value if len(value) <= MOST_LETTERS else f"{value[:MOST_LETTERS]} …"
    if isinstance(value, Mapping):
        return {key: _shorten(part) for key, part in islice(value.items(), MOST_MEMBERS)}
    if isinstance(value, list | tuple):
        return [_shorten(part) for part in value[:MOST_MEMBERS]]
    return value


def _fill_bins(bins: Any, scores: list[float]) -> None:
    if scores:
        places = np.minimum((np.array(scores) * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        bins += np.bincount(places, minlength=SCORE_BINS)
