"""Looks at a job while it runs: prints a line every so often, says which replicas died, and ends a standstill."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from rank1_batch.cli.command import tell
from rank1_batch.errors import Rank1BatchError, ReplicaError
from rank1_batch.jobs.rerank.progress import JobProgress
from rank1_batch.jobs.rerank.stopping import interrupt
from rank1_batch.output.deaths import Attempt, Death, list_deaths, read_attempts, read_deaths
from rank1_batch.replica.suspects import MOST_DEATHS
from rank1_batch.settings import RerankConfig, find_stall_s
from rank1_batch.storage.store import Store

JOB_STALLS = MOST_DEATHS + 1
"""A job ends after this many times `run.stall_s` without a row. A row that hangs its engine is set aside before."""

LOOKS = 20
"""Looks at a job within `run.stall_s`, or more."""

QUIET_LOOKS = 2
"""A replica reports finished rows once in a look. So nothing is known of a shorter time than this."""

LONGEST_LOOK_S = 300.0
"""Seconds that count between two looks: one may wait for a store, but a process that was paused gets its time."""


class Watch:
    """Watches one run. `has_room` says whether there is a node that could hold a replica.

    `standstill` says how the job stands still, once it does.
    """

    def __init__(
        self, output: Store, run_id: str, config: RerankConfig, progress: JobProgress, console: Console,
        has_room: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._output, self._run_id, self._console, self._has_room = output, run_id, console, has_room
        self._progress, self._cluster = progress, config.cluster
        self._stall_s, self._every_s = find_stall_s(config), config.run.log_every_s
        self._known = list_deaths(output)
        self._attempts: list[Attempt] = []
        # Seconds without a finished row: those in which a replica was at work, and those since the last one was.
        self._still_s, self._nobody_s, self._since = 0.0, 0.0, time.time()
        self.standstill: str | None = None

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Look every so often while the block runs. Raises ReplicaError out of the block if the job stands still."""
        ended = threading.Event()
        thread = threading.Thread(target=self._run, args=(ended,), name="watch", daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            if self.standstill is None:
                raise
            raise ReplicaError(self.standstill) from None
        finally:
            ended.set()
            thread.join(LOOKS)  # it may be waiting for a store

    def _run(self, ended: threading.Event) -> None:
        seen, looked, said = self._progress.units, time.monotonic(), time.monotonic()
        while self.standstill is None and not ended.wait(min(self._every_s, self._stall_s / LOOKS)):
            with contextlib.suppress(Rank1BatchError):  # the job itself meets the trouble of a store
                self.tell_deaths()
                self.look(min(time.monotonic() - looked, LONGEST_LOOK_S), units=self._progress.units - seen)
            seen, looked = self._progress.units, time.monotonic()
            if not ended.is_set() and looked - said >= self._every_s:
                said = looked
                self._progress.say(self._waiting())
        if self.standstill:
            interrupt()

    def tell_deaths(self) -> None:
        """Say which replicas died since the last call."""
        for name, death in read_deaths(self._output, self._known).items():
            self._known.add(name)
            tell(self._console, describe_death(death))

    def look(self, seconds: float, units: int) -> None:
        """Find out what came in the last seconds: these units, other finished rows, or a replica."""
        room, before = self._has_room(), self._attempts
        if not units:
            self._attempts = read_attempts(self._output, self._run_id)
            self._progress.begun |= bool(self._attempts)
        if units or _count_finished(self._attempts) != _count_finished(before):
            self._since, self._still_s, self._nobody_s = time.time(), 0.0, 0.0
        elif room and any(attempt.life not in self._known for attempt in self._attempts):
            if not before:  # the first replica has loaded its model just now
                self._since = time.time()
            self._still_s, self._nobody_s = self._still_s + seconds, 0.0
        else:
            self._nobody_s += seconds
        self._check()

    def _check(self) -> None:
        """Set `standstill` where the job has waited for too long: for rows, or for a replica to come and load."""
        limit_s = JOB_STALLS * self._stall_s
        if self._still_s >= limit_s or self._nobody_s >= limit_s + self._cluster.wait_s:
            self.standstill = f"{self._describe()}. All committed units are kept. Run the same command again."

    def _waiting(self) -> str:
        """What a line says beside the counts: how long the job loads, or that it has judged no row for a while."""
        if not self._progress.begun:
            return f"for {time.time() - self._since:.0f} s"
        quiet = max(self._still_s, self._nobody_s) >= QUIET_LOOKS * self._stall_s / LOOKS
        return self._describe() if quiet else ""

    def _describe(self) -> str:
        """What is waited for, and since when."""
        since, seconds = time.strftime("%H:%M:%S", time.localtime(self._since)), time.time() - self._since
        wanted = self._cluster.max_replicas or self._cluster.replicas
        units = sum(len(attempt.rows) for attempt in self._attempts)
        replicas = f"{len(self._attempts)} of {wanted} replicas have begun to judge, {units} units are under way"
        return f"no row judged for {seconds:.0f} s (since {since}): {replicas}"


def describe_death(death: Death) -> str:
    """What happened, in a sentence, and what comes of it."""
    rows, units = death.count_rows(), len(death.rows)
    in_flight = f"{rows} rows of {units} units were in flight and are judged again" if rows else "no row was in flight"
    return f"replica {death.replica} died: {death.reason}; {in_flight}"


def _count_finished(attempts: list[Attempt]) -> dict[str, int]:
    """The rows that were finished, by the life of the replica that did it."""
    return {attempt.life: attempt.finished for attempt in attempts if attempt.finished}
