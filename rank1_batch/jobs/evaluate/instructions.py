"""p-MRR: whether an order follows its instructions, by what changes when they do. Pure.

Defined in FollowIR (Weller et al., arXiv 2403.15246); computed as mteb's `calculate_pmrr` does, with
which FollowIR's and mFollowIR's results are published.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rank1_batch.jobs.evaluate.measures import Order, Qrels

BEFORE, AFTER = "-og", "-changed"
"""Ends of query ids where one set holds both forms of its queries, as mteb's copies of FollowIR do."""

T = TypeVar("T")


class InstructionScore(NamedTuple):
    """p-MRR from -1 (the opposite of what was asked) to 1 (followed), mean over queries.

    `documents` became irrelevant by the changed instructions; `missing` queries have such documents,
    but no place in one of the orders, and are left out.
    """

    p_mrr: float
    queries: int
    documents: int
    missing: int


def split_forms(found: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
    """What belongs to queries before and after their change, by the id that both forms share."""
    before = {query.removesuffix(BEFORE): value for query, value in found.items() if query.endswith(BEFORE)}
    after = {query.removesuffix(AFTER): value for query, value in found.items() if query.endswith(AFTER)}
    return before, after


def find_changed(before: Qrels, after: Qrels, threshold: int) -> dict[str, list[str]]:
    """Documents of each query that are relevant before the change and not after it, where there are any.

    A document that nobody graded after the change has not changed.
    """
    changed = {
        query: sorted(
            doc_id
            for doc_id, grade in grades.items()
            if grade >= threshold and after.get(query, {}).get(doc_id, threshold) < threshold
        )
        for query, grades in before.items()
    }
    return {query: doc_ids for query, doc_ids in changed.items() if doc_ids}


def score_instructions(before: Order, after: Order, changed: Mapping[str, Sequence[str]]) -> InstructionScore | None:
    """p-MRR of the orders before and after instructions changed; None where no query has both."""
    scored = [query for query in changed if before.get(query) and after.get(query)]
    if not scored:
        return None
    values = [
        _mean(
            _score_document(_find_rank(before[query], doc_id), _find_rank(after[query], doc_id))
            for doc_id in changed[query]
        )
        for query in scored
    ]
    documents = sum(len(changed[query]) for query in scored)
    return InstructionScore(_mean(values), len(scored), documents, len(changed) - len(scored))


def _find_rank(doc_ids: Sequence[str], doc_id: str) -> int:
    """The rank from 1; one past the last where the document is not there."""
    return doc_ids.index(doc_id) + 1 if doc_id in doc_ids else len(doc_ids) + 1


def _score_document(before: int, after: int) -> float:
    """Between -1 and 1: above 0 where a document that became irrelevant fell."""
    return after / before - 1 if before >= after else 1 - before / after


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
