"""_rank1/deaths/<name>.json: a replica that died, and the rows that were in flight.

A process that is killed cannot say over which rows it died. So it writes what it begins to
_rank1/attempts/<run>-<replica>.json before it asks its engine. The process that takes its place reads this file.

Rows are numbered among the rows of a unit that are judged: all of them, or those that a redo selects.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rank1_batch.output.layout import ATTEMPTS_FOLDER, DEATHS_FOLDER
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.store import Store, delete_file, list_files, stat_file

Runs = Sequence[tuple[int, int]]
"""Ascending numbers, as (start, stop) runs without `stop`."""

KILLED = "its process was killed, or crashed"
"""The reason for a death that the process itself did not record."""


@dataclass(frozen=True)
class Death:
    """A replica that died. `reason` is for people. `rows` were in flight, by unit."""

    replica: str
    reason: str
    rows: Mapping[str, Runs]

    def count_rows(self) -> int:
        """Rows in flight when the replica died."""
        return sum(stop - start for runs in self.rows.values() for start, stop in runs)


@dataclass(frozen=True)
class Attempt:
    """One process of a replica. `node` is where it runs. `finished` counts the rows that its engine has answered.

    `rows` are those that it has begun, by unit. Some of the units may have been committed since.
    """

    life: str
    replica: str
    node: str
    finished: int
    rows: Mapping[str, Runs]


def record_death(store: Store, name: str, death: Death) -> None:
    """Record a death. `name` tells deaths apart, so a death that is recorded twice counts once."""
    write_document(store, _path(name), death)


def list_deaths(store: Store) -> set[str]:
    """The names of the recorded deaths."""
    return {Path(file.path).stem for file in list_files(store, DEATHS_FOLDER) if file.path.endswith(".json")}


def has_death(store: Store, name: str) -> bool:
    """Whether a death is recorded under this name."""
    return stat_file(store, _path(name)) is not None


def read_deaths(store: Store, known: Iterable[str] = ()) -> dict[str, Death]:
    """The recorded deaths by name, without those whose names are known."""
    found = {name: read_document(store, _path(name), Death) for name in sorted(list_deaths(store) - set(known))}
    return {name: death for name, death in found.items() if death is not None}


def clear_deaths(store: Store, unit_ids: Sequence[str]) -> None:
    """Delete the deaths over rows of these units."""
    cleared = set(unit_ids)
    for name, death in read_deaths(store).items():
        rows = {unit_id: runs for unit_id, runs in death.rows.items() if unit_id not in cleared}
        if not rows:
            delete_file(store, _path(name))
        elif len(rows) < len(death.rows):
            record_death(store, name, replace(death, rows=rows))


def write_attempt(store: Store, run_id: str, replica: str, attempt: Attempt) -> None:
    """Write the state of a replica in place of its last one. `replica` is the same for all its processes."""
    write_document(store, _attempt_path(run_id, replica), attempt)


def read_attempts(store: Store, run_id: str) -> list[Attempt]:
    """The last state of each replica of a run that has begun a unit."""
    mine = f"{ATTEMPTS_FOLDER}/{run_id}-"
    paths = [file.path for file in list_files(store, ATTEMPTS_FOLDER) if file.path.startswith(mine)]
    found = (read_document(store, path, Attempt) for path in paths)
    return [attempt for attempt in found if attempt is not None]


def clear_attempts(store: Store) -> None:
    """Delete what the replicas of all runs have begun."""
    for file in list_files(store, ATTEMPTS_FOLDER):
        delete_file(store, file.path)


def record_last_life(store: Store, run_id: str, replica: str, is_lost: Callable[[str], bool]) -> None:
    """Record the death of this replica's last process, if it did not do so itself and its node was not lost.

    `is_lost` says whether a node was lost.
    """
    last = read_document(store, _attempt_path(run_id, replica), Attempt)
    if last is not None and not has_death(store, last.life) and not is_lost(last.node):
        record_death(store, last.life, Death(last.replica, KILLED, last.rows))


def to_runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def from_runs(runs: Runs) -> list[int]:
    """The numbers of runs."""
    return [number for start, stop in runs for number in range(start, stop)]


def _path(name: str) -> str:
    return f"{DEATHS_FOLDER}/{name}.json"


def _attempt_path(run_id: str, replica: str) -> str:
    return f"{ATTEMPTS_FOLDER}/{run_id}-{replica}.json"
