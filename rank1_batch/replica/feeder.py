"""Sends the rows of several units through one engine, in order of arrival and without waiting between units.

Knows nothing about files or Ray.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
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

    All methods belong to one event loop. `on_judged` is called in it with every pair that is judged.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        max_num_seqs: int,
        on_judged: Callable[[Pair, Judgment], None] = lambda _pair, _judgment: None,
    ) -> None:
        self._engine, self._policy = engine, policy
        self._slots = asyncio.Semaphore(count_slots(max_num_seqs))
        self._on_judged = on_judged
        self._turn = asyncio.Lock()
        self._failure: BaseException | None = None
        self._asked: WeakValueDictionary[Pair, asyncio.Task[Judgment]] = WeakValueDictionary()

    async def judge(self, rows: Sequence[Pair | BadRow], on_begin: Callable[[], None] = lambda: None) -> list[Judgment]:
        """A judgment for each row, in order; a BadRow becomes an error with its reason.

        A call's rows begin after all rows of earlier calls have begun. `on_begin` is called when the first
        of them has a slot. If it raises, the call ends. Equal pairs are judged once, even if they belong
        to other calls in progress. An error that is not a row's fault ends all calls: no row begins after it.
        """
        async with self._turn:
            async with self._slots:  # wait for a free slot; nobody else can take it
                self._check()
                on_begin()
            tasks = [row if isinstance(row, BadRow) else await self._begin(row) for row in rows]
        await asyncio.gather(*(task for task in tasks if not isinstance(task, BadRow)))
        return [failed_judgment(task.reason) if isinstance(task, BadRow) else task.result() for task in tasks]

    async def _begin(self, pair: Pair) -> asyncio.Task[Judgment]:
        """The task that judges a pair, as soon as there is a slot for it."""
        task = self._asked.get(pair)
        if task is None:
            await self._slots.acquire()
            self._check()
            task = self._asked[pair] = asyncio.create_task(judge_pair(self._engine, pair, self._policy))
            task.add_done_callback(functools.partial(self._end, pair))
        return task

    def _end(self, pair: Pair, task: asyncio.Task[Judgment]) -> None:
        self._slots.release()
        if task.cancelled():
            return
        if (failure := task.exception()) is None:
            self._on_judged(pair, task.result())
        self._failure = self._failure or failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
