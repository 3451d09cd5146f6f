"""How many units must be in flight so that an engine stays busy: a simulation, without an engine and without Ray.

    python -m benchmarks.in_flight

An engine of 256 sequences judges rows in their order. A unit ends with its longest trace, and then the next unit comes.
Most traces have about the same length. Some run to a budget of 25 times that. The table also shows the finished rows
of unfinished units. Those rows are lost when a replica dies.
"""

import heapq
import random
from collections import Counter, deque

SEQUENCES = 256
ROWS = 240 * 1024
SPREAD = 0.5
"""The deviation of the logarithm of a trace's length, whose mean is 1."""
BUDGET = 25.0
SHARES = (0.0, 0.003, 0.01, 0.03)
"""Of traces that run to the budget."""
IN_FLIGHT = ((194, 11), (194, 32), (1024, 2), (1024, 10))
"""Rows of a unit, and units in flight: as few as make 8 rows a sequence, and as many as a replica is given."""


def main() -> None:
    """Print a line for each size of units and each number in flight."""
    shares = " | ".join(f"at {100 * share:g} %" for share in SHARES)
    print(f"| rows a unit | units in flight | {shares} |")
    print("|---|---|" + "---|" * len(SHARES))
    for unit_rows, units in IN_FLIGHT:
        found = [simulate(unit_rows, units, share) for share in SHARES]
        print(f"| {unit_rows} | {units} | " + " | ".join(f"{busy:.2f}, {lost:.0f}" for busy, lost in found) + " |")


def simulate(unit_rows: int, units: int, share: float) -> tuple[float, float]:
    """The mean share of busy sequences while units are left, and the mean of finished rows in unfinished units."""
    chance = random.Random(1)
    now = worked = unfinished = 0.0
    left: Counter[int] = Counter()
    waiting: deque[int] = deque()
    working: list[tuple[float, int]] = []
    for unit in range(ROWS // unit_rows):
        left[unit] = unit_rows
        waiting.extend([unit] * unit_rows)
        while len(left) == units:
            while waiting and len(working) < SEQUENCES:
                seconds = BUDGET if chance.random() < share else chance.lognormvariate(-(SPREAD**2) / 2, SPREAD)
                heapq.heappush(working, (now + seconds, waiting.popleft()))
            before, (now, ended) = now, heapq.heappop(working)
            worked += (now - before) * (len(working) + 1)
            unfinished += (now - before) * sum(unit_rows - rows for rows in left.values())
            left[ended] -= 1
            if not left[ended]:
                del left[ended]
    return worked / (SEQUENCES * now), unfinished / now


if __name__ == "__main__":
    main()
