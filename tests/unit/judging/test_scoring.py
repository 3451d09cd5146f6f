import decimal
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.errors import RowError
from rank1_batch.judging.readers import RANK1, Answer, Reader
from rank1_batch.judging.scoring import Verdict, grade_verdict, is_saturated, is_stray, score_verdict

GRADES = Reader(tuple(Answer(str(grade), grade) for grade in (3, 2, 1, 0)), relevant_from=2)

logprobs = st.floats(max_value=0.0, allow_nan=False, allow_infinity=False)
usual_logprobs = st.floats(min_value=-700.0, max_value=0.0)


def precise_score(true_logprob: float, false_logprob: float) -> float:
    """exp(t) / (exp(t) + exp(f)), the formula of the paper, in 60 digits."""
    with decimal.localcontext(prec=60, Emin=-(10**9), Emax=10**9):
        t, f = decimal.Decimal(true_logprob).exp(), decimal.Decimal(false_logprob).exp()
        return float(t / (t + f))


@given(usual_logprobs, usual_logprobs)
def test_a_score_is_the_papers_formula_in_sixty_digits(t: float, f: float) -> None:
    assert score_verdict((t, f), RANK1) == pytest.approx(precise_score(t, f), rel=1e-12, abs=0.0)


@given(logprobs, logprobs)
def test_no_pair_of_logprobs_leaves_the_bounds_or_raises(t: float, f: float) -> None:
    assert 0.0 <= score_verdict((t, f), RANK1) <= 1.0


@given(logprobs, logprobs)
def test_a_score_and_its_opposite_add_up_to_one(t: float, f: float) -> None:
    assert score_verdict((t, f), RANK1) + score_verdict((f, t), RANK1) == pytest.approx(1.0, abs=1e-15)


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=2))
def test_a_larger_gap_never_gets_a_smaller_score(gaps: list[float]) -> None:
    low, high = sorted(gaps)
    assert score_verdict(_by_gap(low), RANK1) <= score_verdict(_by_gap(high), RANK1)


@given(st.integers(-35, 34))
def test_float64_keeps_gaps_up_to_35_apart(gap: int) -> None:
    assert score_verdict(_by_gap(gap), RANK1) < score_verdict(_by_gap(gap + 1), RANK1)


@pytest.mark.parametrize(
    ("t", "f", "score"),
    [
        (-1.0, -1.0, 0.5),
        (math.log(0.75), math.log(0.25), 0.75),
        (0.0, -1e308, 1.0),
        (-1e308, 0.0, 0.0),
        (-math.inf, -1.0, 0.0),
        (-1.0, -math.inf, 1.0),
        (-1e308, -1e308, 0.5),  # exp(t) + exp(f) would be 0
    ],
)
def test_extreme_verdicts_have_a_score(t: float, f: float, score: float) -> None:
    assert score_verdict((t, f), RANK1) == pytest.approx(score, abs=1e-15)


@pytest.mark.parametrize("verdict", [(math.nan, -1.0), (-1.0, math.nan), (-math.inf, -math.inf)])
def test_a_verdict_that_is_no_number_fails_its_row_and_is_never_made_up(verdict: tuple[float, float]) -> None:
    with pytest.raises(RowError, match="verdict"):
        score_verdict(verdict, RANK1)


def _by_gap(gap: float) -> Verdict:
    return min(gap, 0.0), min(-gap, 0.0)


@pytest.mark.parametrize(
    ("score", "saturated"),
    [(0.0, True), (1e-7, True), (1e-5, False), (0.5, False), (0.99999, False), (0.9999999, True), (1.0, True)],
)
def test_a_score_is_saturated_near_both_ends(score: float, saturated: bool) -> None:
    assert is_saturated(score) is saturated


@given(st.floats(0, 40))
def test_sure_verdicts_are_saturated_alike_on_both_sides_from_a_gap_of_13_8(gap: float) -> None:
    up, down = score_verdict((0.0, -gap), RANK1), score_verdict((-gap, 0.0), RANK1)
    if abs(gap - 13.8155) > 1e-3:
        assert is_saturated(up) == is_saturated(down) == (gap > 13.8155)


@pytest.mark.parametrize(("t", "f", "stray"), [(0.6, 0.39, False), (0.5, 0.001, False), (0.3, 0.19, True)])
def test_a_verdict_is_stray_where_both_words_have_less_than_half(t: float, f: float, stray: bool) -> None:
    assert is_stray((math.log(t), math.log(f))) is stray


def test_a_word_without_any_probability_makes_no_verdict_stray() -> None:
    assert not is_stray((0.0, -math.inf))
    assert is_stray((-math.inf, -math.inf))


@pytest.mark.parametrize(
    ("shares", "score", "grade"),
    [
        ((0.25, 0.25, 0.25, 0.25), 0.5, 0),  # equally likely: the least of them
        ((0.7, 0.1, 0.1, 0.1), (0.7 * 3 + 0.1 * 2 + 0.1) / 3, 3),
        ((0.1, 0.4, 0.0, 0.0), (0.2 * 3 + 0.8 * 2) / 3, 2),  # half of the mass is on other words
        ((1e-9, 1e-9, 1e-9, 1.0), 2e-9, 0),
    ],
)
def test_a_graded_score_is_the_expected_grade_among_the_answers_scaled_to_one(
    shares: tuple[float, ...], score: float, grade: float
) -> None:
    verdict = tuple(math.log(share) if share else -math.inf for share in shares)
    assert score_verdict(verdict, GRADES) == pytest.approx(score, rel=1e-6)
    assert grade_verdict(verdict, GRADES) == grade


@given(usual_logprobs, usual_logprobs)
def test_with_two_answers_the_expected_value_is_the_papers_score(t: float, f: float) -> None:
    values = Reader((Answer("3", 3), Answer("0", 0)), relevant_from=3)
    assert score_verdict((t, f), values) == score_verdict((t, f), RANK1)
    assert grade_verdict((t, f), RANK1) == (1 if t > f else 0)


@pytest.mark.parametrize("verdict", [(math.nan, -1.0, -1.0, -1.0), (-math.inf,) * 4])
def test_a_graded_verdict_that_is_no_number_fails_its_row(verdict: Verdict) -> None:
    with pytest.raises(RowError, match="verdict"):
        score_verdict(verdict, GRADES)
