"""How near many replicas come to the least time that their rows need: a simulation, without engines and without Ray.

    python -m benchmarks.dealing

Rows are cut into units and dealt as in a job, by the job's own code. A replica begins its rows in their order and takes
another task when one of its tasks has ended. Most traces are about equally long, and some run to a budget of 25 times
that. The least time is that of slots which all take their rows from one queue.
"""

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Sequence

from benchmarks.in_flight import BUDGET, SPREAD
from rank1_batch.cluster.stream import deal_units, tasks_in_flight
from rank1_batch.pairs.units import Unit, choose_sizes
from rank1_batch.replica.feeder import SLOTS_PER_SEQUENCE

JOBS = ((256, 1), (256, 4), (64, 16), (16, 64))
"""Sequences of an engine, and replicas."""
SHARES = (0.0, 0.01, 0.03)
"""Of traces that run to the budget."""
ROWS_A_SLOT = (20, 60)


def main() -> None:
    """A line for each job."""
    shares = " | ".join(f"at {100 * share:g} %" for share in SHARES)
    print(f"| replicas | sequences of each | rows a slot | units | tasks | {shares} |")
    print("|---|---|---|---|---|" + "---|" * len(SHARES))
    for job in JOBS:
        sequences, replicas = job
        for rows_a_slot in ROWS_A_SLOT:
            rows = replicas * round(sequences * SLOTS_PER_SEQUENCE) * rows_a_slot
            units = cut(rows, sequences, replicas)
            tasks = [sum(unit.pairs for unit in task) for task in deal_units(units, sequences, replicas)]
            ratios = [
                judge(tasks, sequences, replicas, share) / schedule(rows, sequences, replicas, share)
                for share in SHARES
            ]
            told = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {replicas} | {sequences} | {rows_a_slot} | {len(units)} | {len(tasks)} | {told} |", flush=True)


def cut(rows: int, sequences: int, replicas: int) -> list[Unit]:
    """The units of a file with so many rows, each a query of its own."""
    sizes, left, units = choose_sizes(sequences, replicas), rows, []
    while left:
        pairs = min(left, sizes.cut(left))
        units.append(Unit("", "", "", rows - left, rows - left + pairs, pairs))
        left -= pairs
    return units


def judge(tasks: Sequence[int], sequences: int, replicas: int, share: float) -> float:
    """The time that tasks of so many rows take."""
    pool, now = _Pool(tasks, sequences, replicas, share), 0.0
    at_once = min(tasks_in_flight(sequences, max(tasks)), -(-len(tasks) // replicas))
    for place in range(at_once * replicas):
        pool.take(place % replicas)
    for replica in range(replicas):
        pool.begin(replica, now)
    while pool.working:
        now, replica, task = heapq.heappop(pool.working)
        pool.end(replica, task)
        pool.begin(replica, now)
    return now


class _Pool:
    """Replicas, the rows that they work on (each with the time of its end), and those that wait for a slot."""

    def __init__(self, tasks: Sequence[int], sequences: int, replicas: int, share: float) -> None:
        self.working: list[tuple[float, int, int]] = []
        self._chance, self._share = random.Random(1), share
        self._tasks = enumerate(tasks)
        self._left: Counter[int] = Counter()
        self._waiting: list[deque[int]] = [deque() for _ in range(replicas)]
        self._free = [round(sequences * SLOTS_PER_SEQUENCE)] * replicas

    def take(self, replica: int) -> None:
        """Give a replica the next task, if there is one."""
        for task, rows in itertools.islice(self._tasks, 1):
            self._left[task] = rows
            self._waiting[replica].extend([task] * rows)

    def begin(self, replica: int, now: float) -> None:
        """Fill a replica's free slots."""
        while self._free[replica] and self._waiting[replica]:
            self._free[replica] -= 1
            end = now + seconds(self._chance, self._share)
            heapq.heappush(self.working, (end, replica, self._waiting[replica].popleft()))

    def end(self, replica: int, task: int) -> None:
        """A row of a task is done; after its last one the replica takes another."""
        self._free[replica] += 1
        self._left[task] -= 1
        if not self._left[task]:
            self.take(replica)


def schedule(rows: int, sequences: int, replicas: int, share: float) -> float:
    """The time of rows that each go to the slot that is free first."""
    chance = random.Random(1)
    free = [0.0] * (replicas * round(sequences * SLOTS_PER_SEQUENCE))
    for _ in range(rows):
        heapq.heapreplace(free, free[0] + seconds(chance, share))
    return max(free)


def seconds(chance: random.Random, share: float) -> float:
    """The time of a row, whose mean is 1 unless it runs to its budget."""
    return BUDGET if chance.random() < share else chance.lognormvariate(-(SPREAD**2) / 2, SPREAD)


if __name__ == "__main__":
    main()
