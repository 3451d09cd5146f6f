import math

from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.manifest import Counts
from rank1_batch.stages.judge import Receipt
from rank1_batch.stages.stream import (
    LEAST_TASKS_IN_FLIGHT,
    MOST_TASKS_IN_FLIGHT,
    ROWS_IN_FLIGHT,
    TASK_ROWS,
    TASK_UNITS,
    TASKS_A_REPLICA,
    deal_units,
    tasks_in_flight,
    until_idle,
)
from rank1_batch.units import Unit

sizes = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 500)), min_size=1, max_size=300)
replicas, sequences = st.integers(1, 8), st.integers(1, 300)


def receipt(replica: str, idle_after: int | None = None) -> Receipt:
    return Receipt("unit", Counts(), True, "node", replica, 0.0, idle_after=idle_after)


@given(st.data())
def test_no_receipt_is_missed_when_replicas_are_told_idle_before_their_last_units_arrive(data: st.DataObject) -> None:
    judged = data.draw(st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), min_size=1))
    receipts = [receipt(replica) for replica, count in judged.items() for _ in range(count)]
    idle = [receipt(replica, count) for replica, count in judged.items() for _ in range(2)]
    first = [receipt(replica) for replica in judged]  # all replicas have been heard of
    for replica in judged:
        receipts.remove(receipt(replica))
    arriving = data.draw(st.permutations(receipts + idle))
    found = list(until_idle(iter([*first, *arriving])))
    assert sorted(found) == sorted(first + receipts)


def test_what_comes_after_the_last_unit_of_the_last_replica_is_not_waited_for() -> None:
    stream = iter([receipt("a"), receipt("b", 1), receipt("a", 1), receipt("b"), receipt("a", 1)])
    assert len(list(until_idle(stream))) == 2
    assert len(list(stream)) == 1


def test_a_replica_that_judged_nothing_is_idle_at_once() -> None:
    assert list(until_idle(iter([receipt("a", 0), receipt("a")]))) == []


def test_the_units_of_a_replica_that_died_are_waited_for_until_all_were_passed_over() -> None:
    stream = [receipt("dead"), receipt("new", 0), receipt("new", 0), receipt("new", 0)]
    assert list(until_idle(iter(stream))) == [receipt("dead")]


def units_of(sizes: list[int]) -> list[Unit]:
    return [Unit(str(number), "file", "etag", 0, pairs, pairs) for number, pairs in enumerate(sizes)]


@given(sizes, sequences, replicas)
def test_every_unit_is_in_one_task_and_large_ones_share_it_with_none(
    sizes: list[int], sequences: int, replicas: int
) -> None:
    tasks = deal_units(units_of(sizes), sequences, replicas)
    assert [unit for task in tasks for unit in task] == units_of(sizes)
    left = sum(sizes)
    for task in tasks:
        pairs = sum(unit.pairs for unit in task)
        shared = 1 < len(task) <= TASK_UNITS and pairs <= min(
            TASK_ROWS * sequences, left / (TASKS_A_REPLICA * replicas)
        )
        assert len(task) == 1 or shared
        left -= pairs


@given(st.integers(1, 3000), replicas)
def test_small_units_are_dealt_to_all_replicas_and_make_few_tasks(units: int, replicas: int) -> None:
    tasks = deal_units(units_of([1] * units), 256, replicas)
    assert len(tasks) >= min(units, TASKS_A_REPLICA * replicas)
    least_of_all_but_the_end = -(-units // TASK_UNITS)
    end = TASKS_A_REPLICA * replicas * math.log(2 * TASK_UNITS) + TASKS_A_REPLICA * replicas
    assert len(tasks) <= least_of_all_but_the_end + end


@given(st.integers(1, 1024), st.integers(0, 4096))
def test_enough_rows_are_in_flight_and_a_few_tasks_at_least(max_num_seqs: int, task_pairs: int) -> None:
    tasks = tasks_in_flight(max_num_seqs, task_pairs)
    assert LEAST_TASKS_IN_FLIGHT <= tasks <= MOST_TASKS_IN_FLIGHT
    assert tasks == MOST_TASKS_IN_FLIGHT or tasks * max(1, task_pairs) >= ROWS_IN_FLIGHT * max_num_seqs
