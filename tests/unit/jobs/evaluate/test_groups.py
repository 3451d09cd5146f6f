"""Groups of queries, against what mteb computes for NevIR and InstructIR."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.errors import SettingsError
from rank1_batch.jobs.evaluate.groups import Aggregate, filter_queries, find_groups, group_values

NEVIR = {"1_q1": 1.0, "1_q2": 1.0, "2_q1": 1.0, "2_q2": 0.0, "3_q1": 0.0, "3_q2": 0.0}
PAIRS = r"^(.+)_q[12]$"


def test_both_queries_of_a_pair_must_be_right() -> None:
    """mteb's `paired_accuracy`: 1 for a key if recall_1 is 1 for its q1 and its q2. Here that is 1 of 3 pairs."""
    found = group_values({"R@1": NEVIR}, find_groups(NEVIR, PAIRS), Aggregate.ALL)
    assert found == {"R@1": {"1": 1.0, "2": 0.0, "3": 0.0}}


@given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 9)), st.floats(0, 1), min_size=1))
def test_the_least_value_over_instructions_is_that_of_mteb(found: dict[tuple[int, int], float]) -> None:
    """mteb's `robustness_at_10`: the least nDCG@10 of all ids that begin alike up to `_`, and the mean of these."""
    values = {f"{query}_{form}": value for (query, form), value in found.items()}
    grouped = group_values({"nDCG@10": values}, find_groups(values, "^[^_]+"), Aggregate.MIN)["nDCG@10"]
    keys = {query_id.split("_")[0] for query_id in values}
    least = {key: min(value for query_id, value in values.items() if query_id.split("_")[0] == key) for key in keys}
    assert grouped == least


def test_a_mean_gives_each_group_one_value() -> None:
    grouped = group_values(
        {"RR": {"a1": 1.0, "a2": 0.5, "b1": 0.25}}, find_groups(["a1", "a2", "b1"], "[a-z]"), Aggregate.MEAN
    )
    assert grouped == {"RR": {"a": 0.75, "b": 0.25}}


def test_a_group_is_what_the_parentheses_hold_or_all_that_is_found() -> None:
    assert find_groups(["x-12-og"], r"(\w+)-\d+-(og|changed)") == {"x-12-og": "xog"}
    assert find_groups(["x-12-og"], r"\d+") == {"x-12-og": "12"}
    assert find_groups(["7-q2"], r"(\d+)-(?:q1|q2)(z)?") == {"7-q2": "7"}


def test_queries_in_no_group_are_told() -> None:
    with pytest.raises(SettingsError, match=r"group_by=\^q is not found in 2 graded query ids: a, b"):
        find_groups(["b", "q1", "a"], "^q")


def test_queries_are_chosen_by_a_part_of_their_id() -> None:
    assert filter_queries({"1-og": 1, "1-changed": 2}, "-og$") == {"1-og": 1}
    assert filter_queries({"1-og": 1}, None) == {"1-og": 1}
