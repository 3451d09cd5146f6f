import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from rank1_batch.measuring.comparison import Comparison, compare, correct_holm, subtract
from rank1_batch.measuring.measures import parse_measures

AP = parse_measures(["AP"])
values = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=30)


def compare_ap(ours: list[float], first: list[float]) -> Comparison:
    queries = [f"q{n}" for n in range(len(ours))]
    values = ({"AP": dict(zip(queries, column, strict=True))} for column in (ours, first))
    return compare(AP, *values)["AP"]


def test_means_difference_and_queries_gained_and_lost() -> None:
    one = compare_ap([0.5, 0.75, 0.25, 1.0], [0.25, 0.75, 0.5, 0.0])
    assert one[:3] == (0.625, 0.375, 0.25)
    assert (one.gained, one.lost) == (2, 1)


def test_the_p_value_is_that_of_the_textbook() -> None:
    """Differences 1, 2, 3, 4, 5: t = 3 / sqrt(2.5 / 5) = 4.2426 with 4 degrees of freedom, p = 0.01324 (R: t.test)."""
    p_value = compare_ap([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5).p_value
    assert p_value is not None
    assert math.isclose(p_value, 0.0132356, abs_tol=1e-6)


@given(values)
def test_the_p_value_does_not_change_with_the_sides(pairs: list[tuple[int, int]]) -> None:
    ours, first = ([number / 10 for number in column] for column in zip(*pairs, strict=True))
    there, back = compare_ap(ours, first), compare_ap(first, ours)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    if there.p_value is None:
        assert back.p_value is None
    else:
        assert math.isclose(there.p_value, back.p_value or 0.0)
        assert math.isclose(there.p_value, float(ttest_rel(ours, first).pvalue), rel_tol=1e-6)


@pytest.mark.parametrize(("ours", "first"), [([0.5], [0.25]), ([0.5, 0.7], [0.5, 0.7]), ([0.1 + 0.2, 1.0], [0.3, 1.0])])
def test_where_a_test_says_nothing_there_is_no_p_value(ours: list[float], first: list[float]) -> None:
    assert compare_ap(ours, first).p_value is None


def test_holms_correction_is_that_of_the_textbook() -> None:
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") gives 0.03, 0.06, 0.06, 0.02; no value is over 1."""
    corrected = correct_holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert correct_holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert correct_holm({}) == {}


def test_judged_at_k_has_no_p_value_and_is_not_counted_as_a_test() -> None:
    measures = parse_measures(["AP", "P@5", "Judged@10"])
    ours, first = (
        {str(measure): {f"q{n}": value * n for n in range(1, 6)} for measure in measures} for value in (1.0, 0.0)
    )
    found = compare(measures, ours, first)
    assert (found["Judged@10"].p_value, found["Judged@10"].p_holm) == (None, None)
    assert found["AP"].p_holm == pytest.approx(2 * 0.0132356, abs=1e-6)


def test_differences_by_rounding_are_neither_gain_nor_loss() -> None:
    assert subtract({"q": 0.1 + 0.2}, {"q": 0.3}) == {"q": 0.0}
    one = compare_ap([0.1 + 0.2, 0.5], [0.3, 0.4])
    assert (one.gained, one.lost) == (1, 0)


def test_without_a_first_stage_there_is_the_value_alone() -> None:
    assert compare(AP, {"AP": {"a": 0.5, "b": 1.0}}, None) == {"AP": Comparison(0.75)}
