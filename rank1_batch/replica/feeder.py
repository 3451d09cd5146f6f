"""Sends the rows of several units through one engine, in order of arrival and without waiting between units.

Knows nothing about files or Ray.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from weakref import WeakValueDictionary

from rank1_batch.judging.pair import judge_pair
from rank1_batch.judging.records import BadRow, Engine, Judgment, Pair, Policy, failed_judgment

SLOTS_PER_SEQUENCE = 1.2
"""Rows in flight for each sequence of the engine. Above 1, because some rows are between their two requests."""


def count_slots(max_num_seqs: int) -> int:
    """Rows that are in flight at one time."""
    return max(1, round(max_num_seqs * SLOTS_PER_SEQUENCE))


class Feeder:
    """Judges rows on one engine, at most `slots` at a time, in the order given.

    All methods belong to one event loop. `on_judged` is called in it with every pair that is judged. The attributes
    may be read from any thread. `in_flight` holds the pairs that the engine was asked and has not answered. Once the
    engine has died, they are those that it was asked when it died. `finished` counts the pairs that it has answered.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        max_num_seqs: int,
        on_judged: Callable[[Pair, Judgment], None] = lambda _pair, _judgment: None,
    ) -> None:
        self.in_flight: dict[Pair, asyncio.Task[Judgment]] = {}
        self.finished = 0
        self._engine, self._policy = engine, policy
        self._slots = asyncio.Semaphore(count_slots(max_num_seqs))
        self._on_judged = on_judged
        self._turn = asyncio.Lock()
        self._failure: BaseException | None = None
        self._asked: WeakValueDictionary[Pair, asyncio.Task[Judgment]] = WeakValueDictionary()

    async def judge(
        self,
        rows: Sequence[Pair | BadRow],
        on_begin: Callable[[], None] = lambda: None,
        on_row: Callable[[], None] = lambda: None,
    ) -> list[Judgment]:
        """A judgment for each row, in order; a BadRow becomes an error with its reason.

        A call's rows begin after all rows of earlier calls have begun. `on_begin` is called in another thread when
        the first of them has a slot. If it raises, the call ends. `on_row` is called after each row. A call that is
        cancelled cancels the rows that it began. Equal pairs are judged once, even if they belong to other calls in
        progress. An error that is not a row's fault ends all calls: no row begins after it.
        """
        tasks: list[BadRow | asyncio.Task[Judgment]] = []
        with _cancelling(tasks):
            async with self._turn:
                async with self._slots:  # wait for a free slot; nobody else can take it
                    self._check()
                    await asyncio.to_thread(on_begin)
                await self._begin_all(rows, tasks, on_row)
            return await _gather(tasks)

    async def judge_apart(
        self, groups: Sequence[Sequence[Pair | BadRow]], on_begin: Callable[[int], None]
    ) -> list[list[Judgment]]:
        """A judgment for each row of each group. One group begins when the one before it has ended.

        No other rows are in flight meanwhile. `on_begin` is called with the number of the group, as in `judge`.
        """
        judged = []
        async with self._turn:
            while self.in_flight:  # no row begins without the turn
                await asyncio.wait(self.in_flight.values())
                self._check()
            for number, rows in enumerate(groups):
                self._check()
                await asyncio.to_thread(on_begin, number)
                tasks: list[BadRow | asyncio.Task[Judgment]] = []
                await self._begin_all(rows, tasks)
                judged.append(await _gather(tasks))
        return judged

    async def _begin_all(
        self,
        rows: Sequence[Pair | BadRow],
        tasks: list["BadRow | asyncio.Task[Judgment]"],
        on_row: Callable[[], None] = lambda: None,
    ) -> None:
        """Add a task for each row, as soon as there is a slot for it."""
        for row in rows:
            tasks.append(row if isinstance(row, BadRow) else await self._begin(row))
            _when_done(tasks[-1], on_row)

    async def _begin(self, pair: Pair) -> asyncio.Task[Judgment]:
        """The task that judges a pair, as soon as there is a slot for it."""
        task = self._asked.get(pair)
        if task is None or task.cancelling():
            await self._slots.acquire()
            self._check()
            task = self._asked[pair] = self.in_flight[pair] = asyncio.create_task(
                judge_pair(self._engine, pair, self._policy)
            )
            task.add_done_callback(functools.partial(self._end, pair))
        return task

    def _end(self, pair: Pair, task: asyncio.Task[Judgment]) -> None:
        self._slots.release()
        if not task.cancelled():
            failure = task.exception()
            if failure is None:
                self._on_judged(pair, task.result())
            self._failure = self._failure or failure
        if self._failure is None:
            self.finished += 0 if task.cancelled() else 1
            if self.in_flight.get(pair) is task:  # another call may have asked a cancelled pair anew
                del self.in_flight[pair]

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


@contextlib.contextmanager
def _cancelling(tasks: list["BadRow | asyncio.Task[Judgment]"]) -> Iterator[None]:
    """Cancel the tasks if this call is cancelled."""
    try:
        yield
    except asyncio.CancelledError:
        for task in tasks:
            if not isinstance(task, BadRow):
                task.cancel()
        raise


async def _gather(tasks: Sequence["BadRow | asyncio.Task[Judgment]"]) -> list[Judgment]:
    await asyncio.gather(*(task for task in tasks if not isinstance(task, BadRow)))
    return [failed_judgment(task.reason) if isinstance(task, BadRow) else task.result() for task in tasks]


def _when_done(task: "BadRow | asyncio.Task[Judgment]", call: Callable[[], None]) -> None:
    if isinstance(task, BadRow):
        call()
    else:
        task.add_done_callback(lambda _: call())
