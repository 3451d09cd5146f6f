import json
import math
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.cluster import stream
from rank1_batch.cluster.stream import (
    LEAST_TASKS_IN_FLIGHT,
    MOST_TASKS_IN_FLIGHT,
    ROWS_IN_FLIGHT,
    TASK_ROWS,
    TASK_UNITS,
    TASKS_A_REPLICA,
    JudgeActor,
    deal_units,
    tasks_in_flight,
)
from rank1_batch.output.counts import Counts
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.judge import Receipt

sizes = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 500)), min_size=1, max_size=300)
replicas, sequences = st.integers(1, 8), st.integers(1, 300)


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


def test_a_unit_that_waited_for_others_of_its_task_is_that_much_older_when_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0

    class TakesItsPairsForSeconds:
        def __init__(self, *_: Any) -> None: ...

        def __call__(self, unit: Unit) -> Receipt:
            nonlocal clock
            began, clock = clock, clock + unit.pairs
            return Receipt(unit.unit_id, Counts(), True, "node", "1@host", began)

    monkeypatch.setattr(stream, "JudgeUnits", TakesItsPairsForSeconds)
    monkeypatch.setattr(stream, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(stream, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))  # one after the other
    monkeypatch.setattr(stream, "_spare_collector", lambda: None)  # it is this process's, too
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=str, get_actor_id=str))
    monkeypatch.setattr(stream, "start_replica", lambda _, build: build())
    spec: Any = None
    answer = JudgeActor(spec, starts=None)({"units": [json.dumps(units_of([2, 3]))]})
    ages = [json.loads(text)[Receipt._fields.index("began")] for text in answer["receipt"]]
    assert ages == [5, 3]
