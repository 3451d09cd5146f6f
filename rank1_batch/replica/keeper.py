"""Keeps the finished rows of units under way in the output while a replica works.

Without it, a replica that dies loses every finished row of its units in flight: each waits for its longest trace, so
that these are many times the rows that its engine holds.
"""

import contextlib
import threading
from collections.abc import Mapping, Sequence

from rank1_batch.errors import Rank1BatchError
from rank1_batch.judging.records import BadRow, Judgment, Pair
from rank1_batch.output.notes.kept import drop_kept, keep_rows, read_kept
from rank1_batch.storage.store import Store

KEEP_EVERY_S = 5.0
"""Rows that take no time are cheaper to judge again than to put again and again."""


class Keeper:
    """Puts the finished rows of units under way as soon as `most_unkept` of them are not there yet, in a thread.

    All methods may be called from any thread.
    """

    def __init__(self, store: Store, generation: int, most_unkept: int, every_s: float = KEEP_EVERY_S) -> None:
        self._store, self._generation, self._most_unkept, self._every_s = store, generation, most_unkept, every_s
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._units: dict[str, _UnderWay] = {}
        self._places: dict[Pair, list[tuple[str, int]]] = {}
        self._due, self._hurry = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def begin(self, unit_id: str, rows: Sequence[Pair | BadRow]) -> Mapping[int, Judgment]:
        """The rows of a unit that are judged already, by place. From now on `add` knows the others."""
        found = read_kept(self._store, unit_id, self._generation)
        with self._lock:
            self._units[unit_id] = _UnderWay(found)
            for place, row in enumerate(rows):
                if place not in found and isinstance(row, Pair):
                    self._places.setdefault(row, []).append((unit_id, place))
        return dict(found)

    def add(self, pair: Pair, judgment: Judgment) -> None:
        """Take a finished row, for every unit in which it stands."""
        with self._lock:
            for unit_id, place in self._places.pop(pair, ()):
                if unit_id in self._units:
                    self._units[unit_id].add(place, judgment)
            if self._count_unkept() >= self._most_unkept:
                self._due.set()

    def end(self, unit_id: str, *, committed: bool) -> None:
        """Forget a unit. The rows of one that is committed are removed."""
        with self._writing:  # what is being put must not come after what is removed
            with self._lock:
                unit = self._units.pop(unit_id, None)
            if committed and unit is not None and unit.kept:
                drop_kept(self._store, unit_id, self._generation)

    def hurry(self) -> None:
        """Keep every row from now on as soon as it is finished: this process may end at any time."""
        self._most_unkept = 1
        self._hurry.set()
        self._due.set()

    def keep_all(self) -> None:
        """Keep every finished row before this returns. A store that is away loses them."""
        self._most_unkept = 1
        with contextlib.suppress(Rank1BatchError):
            self._keep()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            with contextlib.suppress(Rank1BatchError):  # units meet the trouble of a store themselves
                self._keep()
            self._hurry.wait(self._every_s)

    def _keep(self) -> None:
        """Put units, those with the most unkept rows first, until few are left."""
        while True:
            with self._writing:
                with self._lock:
                    if not self._units or self._count_unkept() < self._most_unkept:
                        return
                    unit_id, unit = max(self._units.items(), key=lambda item: item[1].unkept)
                    rows = unit.take()
                keep_rows(self._store, unit_id, self._generation, rows)

    def _count_unkept(self) -> int:
        return sum(unit.unkept for unit in self._units.values())


class _UnderWay:
    """The finished rows of a unit by place; how many of them are not kept; whether a file of them is there."""

    def __init__(self, found: Mapping[int, Judgment]) -> None:
        self._finished, self.unkept, self.kept = dict(found), 0, bool(found)

    def add(self, place: int, judgment: Judgment) -> None:
        self._finished[place] = judgment
        self.unkept += 1

    def take(self) -> dict[int, Judgment]:
        """All finished rows, which are about to be kept."""
        self.unkept, self.kept = 0, True
        return dict(self._finished)
