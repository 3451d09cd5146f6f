"""p-MRR: whether an order follows its instructions, measured by what changes when they change. Pure.

Defined in FollowIR (Weller et al., arXiv 2403.15246). Computed as in mteb's `calculate_pmrr`, which
gave the published results of FollowIR and mFollowIR.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rank1_batch.measuring.measures import Order, Qrels

BEFORE, AFTER = "-og", "-changed"
"""Ends of query ids if one set holds both forms of its queries, as mteb's copies of FollowIR do."""

T = TypeVar("T")


class InstructionScore(NamedTuple):
    """p-MRR from -1 (the opposite of what was asked) to 1 (followed), mean over queries.

    `documents` counts documents that the changed instructions made irrelevant. `missing` counts queries
    that have such documents but are not in both orders. They are left out.
    """

    p_mrr: float
    queries: int
    documents: int
    missing: int


def split_forms(found: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
    """The entries of queries before and after their change, by the id that both forms share."""
    before = {query.removesuffix(BEFORE): value for query, value in found.items() if query.endswith(BEFORE)}
    after = {query.removesuffix(AFTER): value for query, value in found.items() if query.endswith(AFTER)}
    return before, after


def find_changed(before: Qrels, after: Qrels, threshold: int) -> dict[str, list[str]]:
    """Documents of each query that are relevant before the change and not after it. Queries without any are left out.

    A document without a grade after the change counts as unchanged.
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
    """p-MRR of the orders before and after instructions changed. None if no query is in both orders."""
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
    """The rank, from 1. A document that is not in the list gets the rank after the last."""
    return doc_ids.index(doc_id) + 1 if doc_id in doc_ids else len(doc_ids) + 1


def _score_document(before: int, after: int) -> float:
    """Between -1 and 1. It is above 0 if a document that became irrelevant fell."""
    return after / before - 1 if before >= after else 1 - before / after


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
