import math

from hypothesis import example, given
from hypothesis import strategies as st

from rank1_batch.output.deaths import Death, to_runs
from rank1_batch.replica.suspects import Turns, plan_turns


def death(*rows: int, others: int = 0) -> Death:
    """A death over these rows of the unit, and over so many of another one."""
    return Death("1@host", "died", {"unit": to_runs(sorted(rows)), "other": [(0, others)]})


def plan(rows: int, *deaths: Death) -> Turns:
    return plan_turns("unit", range(rows), deaths)


def test_after_one_death_all_rows_are_judged_together_as_before() -> None:
    assert plan(4) == plan(4, death(1, 2)) == Turns([], [0, 1, 2, 3], [])


def test_rows_of_two_deaths_are_judged_apart_half_as_many_at_a_time_as_were_in_flight() -> None:
    assert plan(6, death(0, 1, 2, 3), death(0, 1, 2, 3, 4)) == Turns([[0, 1], [2, 3]], [4, 5], [])
    assert plan(6, death(0, 1, others=4), death(0, 1, others=9)) == Turns([[0, 1]], [2, 3, 4, 5], [])


def test_rows_of_the_smallest_deaths_come_first() -> None:
    assert plan(6, death(*range(6)), death(*range(6)), death(4, 5)).groups == [[4], [5], [0, 1, 2], [3]]


def test_a_row_that_was_alone_at_a_third_death_is_set_aside() -> None:
    assert plan(3, death(0, 1, 2), death(1)) == Turns([[1]], [0, 2], [])
    assert plan(3, death(0, 1, 2), death(1, 2), death(1)) == Turns([[2]], [0], [1])


def test_a_row_that_is_alone_in_its_unit_but_not_in_flight_is_no_more_to_blame_than_others() -> None:
    assert plan(1, *[death(0, others=1)] * 5) == Turns([[0]], [], [])


def judge(unit: Turns, slots: int, poison: int) -> Death | None:
    """What an engine dies of that a row kills as soon as it is asked: rows are in flight in their order."""
    for group in unit.groups:
        if poison in group:
            return death(*group)
    if poison in unit.together:
        place = unit.together.index(poison)
        return death(*unit.together[max(0, place - slots + 1) : place + 1])
    return None


@example((4096, 2000), 307)
@given(st.integers(1, 300).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows - 1))), st.integers(1, 64))
def test_a_row_that_kills_its_engine_is_found_by_halving_and_costs_no_other_row(
    rows_and_poison: tuple[int, int], slots: int
) -> None:
    rows, poison = rows_and_poison
    deaths: list[Death] = []
    while died := judge(plan(rows, *deaths), slots, poison):
        deaths.append(died)
    turns = plan(rows, *deaths)
    assert turns.set_aside == [poison]
    assert sorted([*turns.together, *(row for group in turns.groups for row in group), poison]) == list(range(rows))
    assert len(deaths) <= 3 + math.log2(slots)
