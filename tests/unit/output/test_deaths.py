import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.output.deaths import (
    Attempt,
    Death,
    clear_attempts,
    clear_deaths,
    from_runs,
    read_attempts,
    read_deaths,
    record_death,
    record_last_life,
    to_runs,
    write_attempt,
)
from rank1_batch.storage.store import Store, open_store

DEATH = Death("1@host", "its engine died", {"a": [(0, 3)], "b": [(4, 5), (7, 8)]})

ATTEMPT = Attempt("life", "1@host", "node", 7, {"unit": [(0, 3)]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


def test_a_death_comes_back_with_the_rows_that_were_in_flight(store: Store) -> None:
    assert read_deaths(store) == {}
    record_death(store, "first", DEATH)
    record_death(store, "first", DEATH)  # a repeated request is the same death
    assert read_deaths(store) == {"first": DEATH}
    assert DEATH.count_rows() == 5


def test_known_deaths_are_not_read_again(store: Store) -> None:
    record_death(store, "first", DEATH)
    record_death(store, "second", DEATH)
    assert read_deaths(store, ["first"]).keys() == {"second"}


def test_what_an_earlier_version_wrote_is_passed_over(store: Store, tmp_path: Path) -> None:
    """A folder for each unit, and an empty file in it for each death."""
    (tmp_path / "output/_rank1/deaths/unit").mkdir(parents=True)
    (tmp_path / "output/_rank1/deaths/unit/first").touch()
    assert read_deaths(store) == {}


def test_deaths_are_forgotten_unit_by_unit(store: Store) -> None:
    record_death(store, "first", DEATH)
    record_death(store, "second", Death("2@host", "its engine died", {"a": [(0, 1)]}))
    clear_deaths(store, ["a"])
    assert {name: death.rows for name, death in read_deaths(store).items()} == {"first": {"b": [(4, 5), (7, 8)]}}


@given(st.sets(st.integers(0, 30)).map(sorted))
def test_numbers_come_back_from_runs(numbers: list[int]) -> None:
    runs = to_runs(numbers)
    assert from_runs(runs) == numbers
    assert all(before[1] < after[0] for before, after in itertools.pairwise(runs))


def test_a_process_that_took_the_place_of_another_records_its_death_once(store: Store) -> None:
    record_last_life(store, "run", "replica", is_lost="other".__eq__)
    assert read_deaths(store) == {}
    write_attempt(store, "run", "replica", ATTEMPT)
    for _ in range(2):  # the second process may die before it has begun anything
        record_last_life(store, "run", "replica", is_lost="other".__eq__)
    assert [(death.replica, death.rows) for death in read_deaths(store).values()] == [("1@host", {"unit": [(0, 3)]})]


def test_a_death_that_the_process_recorded_itself_stays_as_it_is(store: Store) -> None:
    write_attempt(store, "run", "replica", ATTEMPT)
    record_death(store, "life", Death("1@host", "its engine died", {"unit": [(1, 2)]}))
    record_last_life(store, "run", "replica", is_lost="other".__eq__)
    assert [death.rows for death in read_deaths(store).values()] == [{"unit": [(1, 2)]}]


@pytest.mark.parametrize(("run", "replica"), [("run", "another"), ("another", "replica")])
def test_another_replica_or_another_run_did_not_die(store: Store, run: str, replica: str) -> None:
    """Who kills a run kills all its replicas: no row is to blame."""
    write_attempt(store, run, replica, ATTEMPT)
    record_last_life(store, "run", "replica", is_lost="other".__eq__)
    assert read_deaths(store) == {}


def test_a_process_whose_node_was_lost_did_not_die_of_its_rows(store: Store) -> None:
    write_attempt(store, "run", "replica", ATTEMPT)
    record_last_life(store, "run", "replica", is_lost="node".__eq__)
    assert read_deaths(store) == {}


def test_the_attempts_of_a_run_are_read_together_and_removed_with_all_others(store: Store) -> None:
    write_attempt(store, "run", "replica", Attempt("life", "1@host", "node", 3, {}))
    write_attempt(store, "run", "replica", ATTEMPT)
    write_attempt(store, "other", "replica", ATTEMPT)
    assert read_attempts(store, "run") == [ATTEMPT]
    clear_attempts(store)
    assert read_attempts(store, "run") == read_attempts(store, "other") == []
