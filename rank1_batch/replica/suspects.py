"""Which rows of a unit are judged together, in groups by themselves, or not at all, after engines died over them.

A row that was in flight at one death is judged with all others: most deaths have other causes, and to go on at full
speed costs nothing. A row that was in flight at two deaths is a suspect. Suspects are judged with no other row in
flight, at most half as many at a time as there were at the smallest of their deaths. A row that kills its engine is
alone in the end, and is then set aside. All others of its unit are judged. Knows nothing about files, engines or Ray.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rank1_batch.output.deaths import Death, from_runs

SUSPECT_DEATHS, MOST_DEATHS = 2, 3
"""Deaths after which a row is a suspect, and after which one that was alone at a death is set aside."""


class Turns(NamedTuple):
    """A unit's rows by how they are judged.

    `groups` are judged one after another, with no other row in flight. Those of `together` are judged with all other
    units' rows, and those of `set_aside` not at all.
    """

    groups: list[list[int]]
    together: list[int]
    set_aside: list[int]


def plan_turns(unit_id: str, rows: Sequence[int], deaths: Sequence[Death]) -> Turns:
    """How these rows of a unit are judged after these deaths. Each of them is there once."""
    counts: Counter[int] = Counter()
    smallest: dict[int, int] = {}
    for death in deaths:
        in_flight = death.count_rows()
        for row in from_runs(death.rows.get(unit_id, ())):
            counts[row] += 1
            smallest[row] = min(in_flight, smallest.get(row, in_flight))
    aside = [row for row in rows if counts[row] >= MOST_DEATHS and smallest[row] == 1]
    suspects = [row for row in rows if counts[row] >= SUSPECT_DEATHS and row not in aside]
    together = [row for row in rows if counts[row] < SUSPECT_DEATHS]
    return Turns(_group(suspects, smallest), together, aside)


def _group(suspects: Sequence[int], smallest: dict[int, int]) -> list[list[int]]:
    """Groups of suspects, those of the smallest deaths first: they are the likeliest."""
    groups: list[list[int]] = []
    room = 0
    for row in sorted(suspects, key=lambda row: smallest[row]):
        if not room:
            groups.append([])
            room = max(1, smallest[row] // 2)
        groups[-1].append(row)
        room -= 1
    return [sorted(group) for group in groups]
