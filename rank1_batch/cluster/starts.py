"""Which replicas start, which cannot, and what follows. One Ray actor keeps this record for a whole run.

A failed start is tried again elsewhere, or in the same place after a wait. A node where starts keep failing is
withdrawn for the run. The job ends only when no replica works and too many starts in a row have failed.
"""

import asyncio
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rank1_batch.errors import AccessError, GoldenError, NodeError, Rank1BatchError, ReplicaError, SettingsError

MOST_STARTS = 3
"""Starts that may fail on a node before it is withdrawn, and in a row with no replica at work before the job ends."""

SETTINGS_STARTS = 2
"""The same limit for the job where the settings are the cause: one more try, on another node."""

FIRST_WAIT_S = 5.0
"""The wait before a node's second start. It doubles with each failure."""

WITHDRAWN_WAIT_S = 15.0
"""A replica that Ray puts on a withdrawn node waits so long before it leaves. Room elsewhere may come meanwhile."""

PRESENT_S = 60.0
"""A replica that has been silent for so long is gone. A process that loads a model may be silent for some seconds."""

REFUSALS = (NodeError, AccessError, GoldenError)
"""A second start on the same node would end in the same way."""

LINE_LETTERS = 500


class Location(NamedTuple):
    """A node of the cluster."""

    node_id: str
    address: str

    @property
    def name(self) -> str:
        """The address, and the beginning of the id, which tells two nodes on one machine apart."""
        return f"{self.address} ({self.node_id[:8]})"


class Placement(NamedTuple):
    """Where the next replica may start, by the ids of nodes: not on a withdrawn one, and rather not on an avoided one.

    `end` is the error by which the job ends: then it starts nowhere.
    """

    avoided: list[str]
    withdrawn: list[str]
    end: Rank1BatchError | None = None


class Decision(NamedTuple):
    """What a replica does next, after a wait: start, leave the node, or carry `error` to the driver as the job's end.

    `restart` is whether units of this replica are in progress. They wait for it, so Ray has to start it again.
    """

    start: bool = False
    wait_s: float = 0.0
    error: Rank1BatchError | None = None
    restart: bool = False


@dataclass
class _Replica:
    place: Location
    began: float
    seen: float
    loading: bool = True
    working: bool = False
    has_worked: bool = False


@dataclass
class _Failures:
    """The failed starts of a node since a replica last started there."""

    error: Rank1BatchError
    count: int = 0
    last: float = 0.0
    withdrawn: bool = False


class Starts:
    """The record. `find_nodes` gives the ids of all nodes that are large enough for a replica."""

    def __init__(self, find_nodes: Callable[[], set[str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._find_nodes, self._clock = find_nodes, clock
        self._replicas: dict[str, _Replica] = {}
        self._failures: dict[str, _Failures] = {}
        self._in_a_row, self._row_began = 0, 0.0
        self._has_worked = False
        self._end: Rank1BatchError | None = None
        self._news: list[str] = []
        self._told = asyncio.Event()
        self._stopped = False

    def begin(self, replica: str, place: Location) -> Decision:
        """A replica is about to start on a node. It may be one that was there before, and died."""
        before = self._replicas.get(replica)
        if before:
            before.working = False
        if before and before.loading:
            died = ReplicaError("the process died while it loaded the model: out of memory? Its log may say more.")
            if (decision := self.fail(replica, before.place, died)).error:
                return decision
        failures = self._failures.get(place.node_id)
        if failures and failures.withdrawn:
            return self._turn_away(replica, failures)
        worked = bool(before and before.has_worked)
        self._replicas[replica] = _Replica(place, self._clock(), self._clock(), has_worked=worked)
        return Decision(start=True, wait_s=self._find_wait_s(failures) if failures else 0.0)

    def see(self, replica: str) -> None:
        """A replica is alive."""
        if replica in self._replicas:
            self._replicas[replica].seen = self._clock()

    def succeed(self, replica: str, place: Location) -> None:
        """A replica has started. From now on a failed start is no fault of the settings."""
        now = self._clock()
        self._replicas[replica] = _Replica(place, now, now, loading=False, working=True, has_worked=True)
        self._has_worked, self._in_a_row = True, 0
        if (failures := self._failures.get(place.node_id)) and not failures.withdrawn:
            del self._failures[place.node_id]

    def fail(self, replica: str, place: Location, error: Rank1BatchError) -> Decision:
        """A replica could not start: whether the job has to end, or this replica has to leave."""
        now = self._clock()
        known = self._replicas.setdefault(replica, _Replica(place, now, now))
        known.loading = known.working = False
        failures = self._failures.setdefault(place.node_id, _Failures(error))
        failures.error, failures.last, failures.count = error, now, failures.count + 1
        failures.withdrawn = failures.withdrawn or isinstance(error, REFUSALS) or failures.count >= MOST_STARTS
        self._count_in_row()
        if self._is_hopeless(error):
            return self._end_job(error)
        self._tell(place, failures)
        return Decision(restart=known.has_worked)

    def refuse(self, replica: str, node_id: str, address: str, problem: str) -> None:
        """A node cannot even load this package. It asks with plain texts, as it has none of the classes here."""
        text = f"rank1_batch cannot be loaded there ({problem}): install the same versions on every node"
        self.fail(replica, Location(node_id, address), NodeError([text]))

    def choose(self) -> Placement:
        """Where the next replica may start.

        No node is withdrawn where no other is left. A replica that starts there learns whether the job ends.
        """
        withdrawn = {node for node, failures in self._failures.items() if failures.withdrawn}
        return Placement(sorted(self._failures), sorted(withdrawn) if self._find_nodes() - withdrawn else [], self._end)

    def stop(self) -> None:
        """There will be no more news."""
        self._stopped = True
        self._told.set()

    async def news(self) -> list[str] | None:
        """A line for each start that has failed since the last call, as soon as there is one. None after the last."""
        await self._told.wait()
        if self._stopped:
            return None
        self._told.clear()
        lines, self._news = self._news, []
        return lines

    def _turn_away(self, replica: str, failures: _Failures) -> Decision:
        """A replica came to a withdrawn node: it has to leave, or the job ends as there is no other node."""
        known = self._replicas.get(replica)
        self._count_in_row()
        if self._is_hopeless(failures.error):
            return self._end_job(failures.error)
        return Decision(wait_s=WITHDRAWN_WAIT_S, restart=bool(known and known.has_worked))

    def _count_in_row(self) -> None:
        """One more start has failed. A row begins anew while another replica works."""
        if self._in_a_row == 0:
            self._row_began = self._clock()
        self._in_a_row = 0 if self._works() else self._in_a_row + 1

    def _is_hopeless(self, error: Rank1BatchError) -> bool:
        """Whether no replica works, no start is worth waiting for, and enough have failed in a row."""
        return not self._works() and not self._loads() and self._in_a_row >= self._find_limit(error)

    def _find_limit(self, error: Rank1BatchError) -> int:
        nodes = max(1, len(self._find_nodes()))
        if isinstance(error, REFUSALS):
            return min(MOST_STARTS, nodes)
        return min(SETTINGS_STARTS, nodes) if isinstance(error, SettingsError) else MOST_STARTS

    def _works(self) -> bool:
        return any(replica.working for replica in self._find_present())

    def _loads(self) -> bool:
        """Whether a replica loads that began before the row of failures, or on a node where no start has failed."""
        loading = [replica for replica in self._find_present() if replica.loading]
        return any(it.began < self._row_began or it.place.node_id not in self._failures for it in loading)

    def _find_present(self) -> list[_Replica]:
        return [replica for replica in self._replicas.values() if self._clock() - replica.seen < PRESENT_S]

    def _find_wait_s(self, failures: _Failures) -> float:
        wait_s: float = FIRST_WAIT_S * 2 ** (failures.count - 1)
        return max(0.0, failures.last + wait_s - self._clock())

    def _end_job(self, error: Rank1BatchError) -> Decision:
        """The decision to carry the error to the driver. Settings with which a replica has worked are not to blame."""
        self._end = ReplicaError(str(error)) if self._has_worked and isinstance(error, SettingsError) else error
        return Decision(error=self._end)

    def _tell(self, place: Location, failures: _Failures) -> None:
        cause = textwrap.shorten(str(failures.error), LINE_LETTERS, placeholder=" …")
        then = "this node is withdrawn for the rest of the run" if failures.withdrawn else "it will be tried again"
        self._news.append(f"node {place.name}: a replica could not start, {then}: {cause}")
        self._told.set()
