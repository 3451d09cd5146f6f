"""Queries, passages, runs and grades of ir_datasets, by the id of a data set.

ir_datasets downloads what is not on disk.
"""

from collections.abc import Iterator
from typing import Any

from rank1_batch.collection.records import PASSAGES, Kind, Row
from rank1_batch.collection.trec import Qrel, RunLine
from rank1_batch.errors import SettingsError


def read_dataset(dataset: str, kind: Kind) -> Iterator[Row]:
    """The queries or passages of a data set, with the text that ir_datasets shows by default (title first)."""
    found = _load(dataset)
    if kind is PASSAGES:
        return (Row(doc.doc_id, doc.default_text()) for doc in _ask(found, dataset, "docs"))
    return (Row(query.query_id, query.default_text()) for query in _ask(found, dataset, "queries"))


def read_dataset_run(dataset: str) -> Iterator[RunLine]:
    """The candidates that come with a data set (its scoreddocs)."""
    scored = _ask(_load(dataset), dataset, "scoreddocs")
    return (RunLine(line.query_id, line.doc_id, None, float(line.score)) for line in scored)


def read_dataset_qrels(dataset: str) -> Iterator[Qrel]:
    """The grades that come with a data set."""
    found = _ask(_load(dataset), dataset, "qrels")
    return (Qrel(qrel.query_id, qrel.doc_id, int(qrel.relevance)) for qrel in found)


def _load(dataset: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise SettingsError(
            [f"ir_datasets:{dataset}: ir_datasets is not installed; run: pip install 'rank1-batch[datasets]'"]
        ) from error
    try:
        return ir_datasets.load(dataset)
    except KeyError as error:
        raise SettingsError([f"ir_datasets:{dataset}: ir_datasets has no such data set"]) from error


def _ask(found: Any, dataset: str, what: str) -> Iterator[Any]:
    if not getattr(found, f"has_{what}")():
        raise SettingsError([f"ir_datasets:{dataset} has no {what}"])
    return iter(getattr(found, f"{what}_iter")())
