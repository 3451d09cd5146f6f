import math

from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.measuring.agreement import Agreement, Labelled, count_agreement

cells = st.integers(0, 50)
GRADES = {"q": {"a": 2, "b": 0, "c": 1, "d": 0}, "r": {"a": 1}}


def test_grades_of_one_side_show_recall_alone() -> None:
    """With only relevant pairs any labels have a precision of 1 and a kappa of 0."""
    relevant = Agreement(both=16, label_only=0, relevance_only=16, neither=0, unjudged=628, unlabelled=0)
    assert (relevant.precision, relevant.recall, relevant.kappa) == (None, 0.5, None)
    irrelevant = Agreement(both=0, label_only=3, relevance_only=0, neither=5, unjudged=0, unlabelled=0)
    assert (irrelevant.precision, irrelevant.recall, irrelevant.kappa) == (None, None, None)


def test_a_pair_that_is_there_twice_counts_with_its_better_score() -> None:
    rows = [("q", "a", False, 0.2), ("q", "a", True, 0.9), ("q", "a", None, None), ("q", "a", False, 0.4)]
    for found in (rows, rows[::-1]):
        assert count_agreement([Labelled(*row) for row in found], {"q": {"a": 1}}, 1) == Agreement(1, 0, 0, 0, 0, 0)


def test_pairs_are_counted_by_label_and_relevance() -> None:
    labels = [
        Labelled("q", "a", True, 0.9), Labelled("q", "b", True, 0.8), Labelled("q", "c", False, 0.1),
        Labelled("q", "d", False, 0.2), Labelled("q", "x", True, 0.7), Labelled("r", "a", None, None),
        Labelled("nobody graded", "a", True, 0.9),
    ]  # fmt: skip
    assert count_agreement(labels, GRADES, threshold=1) == Agreement(1, 1, 1, 1, unjudged=1, unlabelled=1)
    assert count_agreement(labels, GRADES, threshold=2) == Agreement(1, 1, 0, 2, unjudged=1, unlabelled=1)


def test_shares_are_those_of_the_textbook() -> None:
    """The example of Cohen's kappa in its Wikipedia article: 20, 5, 10 and 15 of 50 give 0.4."""
    agreement = Agreement(both=20, label_only=5, relevance_only=10, neither=15, unjudged=7, unlabelled=3)
    assert (agreement.precision, agreement.recall) == (20 / 25, 20 / 30)
    assert agreement.kappa is not None
    assert math.isclose(agreement.kappa, 0.4)


@given(cells, cells, cells, cells)
def test_kappa_is_one_for_agreement_and_never_more(both: int, label: int, relevance: int, neither: int) -> None:
    kappa = Agreement(both, label, relevance, neither, 0, 0).kappa
    assert kappa is None or kappa <= 1 + 1e-12
    if both and neither:
        perfect = Agreement(both, 0, 0, neither, 0, 0).kappa
        assert perfect is not None
        assert math.isclose(perfect, 1)


def test_where_nothing_can_be_counted_there_is_no_share() -> None:
    nothing = Agreement(0, 0, 0, 0, 5, 0)
    assert (nothing.precision, nothing.recall, nothing.kappa) == (None, None, None)
    assert Agreement(4, 0, 0, 0, 0, 0).kappa is None  # all true, all relevant: chance alone agrees as well
