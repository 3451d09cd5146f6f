"""p-MRR. Examples are those of the formula in FollowIR (arXiv 2403.15246), worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.evaluate.instructions import InstructionScore, find_changed, score_instructions, split_forms

FOUR = ["a", "b", "c", "d"]
orders = st.permutations(FOUR)


@pytest.mark.parametrize(
    ("before", "after", "p_mrr"),
    [
        (FOUR, FOUR, 0.0),
        (["d", "c", "b", "a"], FOUR, 1 / 4 - 1),  # from 4 to 1, though it became irrelevant
        (FOUR, ["d", "c", "b", "a"], 1 - 1 / 4),  # from 1 to 4, as was asked for
        (["b", "a", "c", "d"], ["b", "c", "a", "d"], 1 - 2 / 3),
        (["b", "a"], ["b", "c", "d"], 1 - 2 / 4),  # not there: one past the last
    ],
)
def test_a_document_that_became_irrelevant_should_fall(before: list[str], after: list[str], p_mrr: float) -> None:
    score = score_instructions({"q": before}, {"q": after}, {"q": ["a"]})
    assert score == InstructionScore(p_mrr, queries=1, documents=1, missing=0)


@given(orders, orders, st.lists(st.sampled_from(FOUR), min_size=1, unique=True))
def test_it_lies_between_minus_one_and_one_and_turns_its_sign_with_the_orders(
    before: list[str], after: list[str], changed: list[str]
) -> None:
    there = score_instructions({"q": before}, {"q": after}, {"q": changed})
    back = score_instructions({"q": after}, {"q": before}, {"q": changed})
    assert there is not None
    assert back is not None
    assert -1 < there.p_mrr < 1
    assert there.p_mrr == pytest.approx(-back.p_mrr)


def test_queries_count_the_same_however_many_documents_they_have() -> None:
    before = {"q": FOUR, "r": FOUR, "nowhere": FOUR}
    after = {"q": ["d", "c", "b", "a"], "r": FOUR}
    changed = {"q": ["a"], "r": ["a", "b", "c"], "nowhere": ["a"]}
    score = score_instructions(before, after, changed)
    assert score == InstructionScore(p_mrr=(0.75 + 0.0) / 2, queries=2, documents=4, missing=1)


def test_without_a_query_in_both_orders_there_is_no_score() -> None:
    assert score_instructions({"q": FOUR}, {"r": FOUR}, {"q": ["a"], "r": ["a"]}) is None
    assert score_instructions({"q": FOUR}, {"q": FOUR}, {}) is None


def test_changed_are_documents_that_are_relevant_before_and_not_after() -> None:
    before = {"q": {"a": 2, "b": 1, "c": 0, "d": 1}, "r": {"a": 1}, "s": {"a": 1}}
    after = {"q": {"a": 0, "b": 1, "c": 0}, "r": {"a": 1}}
    assert find_changed(before, after, threshold=1) == {"q": ["a"]}
    assert find_changed(before, after, threshold=2) == {"q": ["a"]}
    assert find_changed(before, {"q": {"a": 1}}, threshold=2) == {"q": ["a"]}


def test_both_forms_of_a_query_are_told_by_the_end_of_its_id() -> None:
    assert split_forms({"1-og": "x", "1-changed": "y", "2": "z"}) == ({"1": "x"}, {"1": "y"})
