"""One life of a replica: what it has begun, written before its engine is asked, and the end of its process.

Knows nothing about Ray.
"""

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, NoReturn

from rank1_batch.errors import Rank1BatchError
from rank1_batch.judging.records import BadRow, Pair
from rank1_batch.output.deaths import Attempt, Death, record_death, to_runs, write_attempt
from rank1_batch.replica.loop import Replica
from rank1_batch.storage.store import Store

logger = logging.getLogger(__name__)

STALL_LOOKS = 20
"""Looks at an engine within `run.stall_s`."""


class StartedUnit(NamedTuple):
    """When a unit was begun, all its rows, and the places of those whose turn it is."""

    began: float
    places: Sequence[int]
    rows: Sequence[Pair | BadRow]

    def find(self, in_flight: Collection[Pair]) -> list[int]:
        """The places of rows that are in flight."""
        return [place for place in self.places if self.rows[place] in in_flight]


class Who(NamedTuple):
    """A process of a replica, its run and its node. `actor` stays the same in the process that takes its place."""

    run_id: str
    actor: str
    name: str
    node: str


class Life:
    """The units that this process has begun, by id, and the ways in which it may end.

    `on_end` is called before the process exits.
    """

    def __init__(self, output: Store, replica: Replica, who: Who, on_end: Callable[[], None]) -> None:
        self.begun: dict[str, StartedUnit] = {}
        self._output, self._replica, self._on_end = output, replica, on_end
        self._who, self._id = who, uuid.uuid4().hex
        self._writing, self._dying = threading.Lock(), threading.Lock()

    def begin(self, unit_id: str, places: Sequence[int], rows: Sequence[Pair | BadRow]) -> None:
        """Write down the rows of a unit that the engine is about to be asked: these places of `rows`."""
        before = self.begun.get(unit_id)
        self.begun[unit_id] = StartedUnit(before.began if before else time.monotonic(), places, rows)
        self._write()

    def watch(self, stall_s: float) -> None:
        """End this process when its engine has finished no row for `stall_s` while rows are in flight.

        It counts looks, not seconds: a process that was paused gets its time.
        """
        looks, finished = 0, 0
        while looks < STALL_LOOKS:
            time.sleep(stall_s / STALL_LOOKS)  # a poll: an engine that hangs sends no notice
            before, finished = finished, self._replica.count_finished()
            looks = looks + 1 if finished == before and self._replica.in_flight() else 0
            if finished != before:
                with contextlib.suppress(Rank1BatchError):  # units meet the trouble of a store themselves
                    self._write()
        self.end(f"its engine has finished no row for {stall_s:g} s (run.stall_s)")

    def end(self, reason: str) -> NoReturn:
        """Record which rows were in flight, and exit. Not by `exit_actor()`, after which Ray does not retry."""
        with self._dying:
            in_flight = self._replica.in_flight()
            rows = {unit_id: to_runs(begun.find(in_flight)) for unit_id, begun in list(self.begun.items())}
            logger.error("replica ends, units begun: %s (%s)", ", ".join(rows), reason)
            death = Death(self._who.name, reason, {unit_id: runs for unit_id, runs in rows.items() if runs})
            with contextlib.suppress(Rank1BatchError):  # the store is away: the next process knows what was begun
                record_death(self._output, self._id, death)
            self._on_end()
            logging.shutdown()
            os._exit(1)

    def _write(self) -> None:
        with self._writing:
            rows = {unit_id: to_runs(begun.places) for unit_id, begun in list(self.begun.items())}
            attempt = Attempt(self._id, self._who.name, self._who.node, self._replica.count_finished(), rows)
            write_attempt(self._output, self._who.run_id, self._who.actor, attempt)
