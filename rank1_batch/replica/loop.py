"""One engine behind plain blocking calls. Its event loop runs in a separate thread.

Why a thread: Ray collects the results of an asynchronous actor method in a list. A slow consumer then blocks
the method's loop, and with it the engine (Ray 2.60). Knows nothing about files or Ray.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import wait
from typing import Any, NamedTuple, TypeVar

from rank1_batch.engines.build import build_engine
from rank1_batch.judging.pair import judge_given_trace
from rank1_batch.judging.records import BadRow, Judgment, Pair
from rank1_batch.replica.feeder import Feeder
from rank1_batch.settings import RerankConfig, build_policy

CTRL_C_S = 1.0
"""Seconds between two looks for Ctrl-C. If it comes as a wait begins, CPython 3.11 sees it only when the wait ends."""

T = TypeVar("T")


class Usage(NamedTuple):
    """Tokens sent to the engine for reasoning and verdicts, and how many of them its prefix cache held."""

    prompt_tokens: int
    cached_tokens: int


class Replica:
    """An engine that judges rows for several threads at once.

    `on_judged` is called in the engine's thread with every pair that is judged.
    """

    def __init__(
        self, config: RerankConfig, on_judged: Callable[[Pair, Judgment], None] = lambda _pair, _judgment: None
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()
        self._policy = build_policy(config)
        self._engine = self._wait(build_engine(config.model, config.engine, self._policy.reader))
        if config.prompt.chat:
            self._policy = self._policy._replace(template=self._engine.wrap_chat(self._policy.template))
        self._feeder = Feeder(self._engine, self._policy, config.engine.max_num_seqs, on_judged)

    def judge(
        self,
        rows: Sequence[Pair | BadRow],
        on_begin: Callable[[], None] = lambda: None,
        on_row: Callable[[], None] = lambda: None,
    ) -> list[Judgment]:
        """A judgment for each row, in order. Raises EngineDiedError if the engine died.

        `on_begin` is called before the first row is judged. It may raise to stop the call.
        `on_row` is called after each row.
        """
        return self._wait(self._feeder.judge(rows, on_begin, on_row))

    def judge_apart(
        self, groups: Sequence[Sequence[Pair | BadRow]], on_begin: Callable[[int], None]
    ) -> list[list[Judgment]]:
        """A judgment for each row of each group. One group is in flight at a time, and no other row.

        `on_begin` is called with the number of each group, and raises as in `judge`.
        """
        return self._wait(self._feeder.judge_apart(groups, on_begin))

    def in_flight(self) -> set[Pair]:
        """The pairs that the engine was asked and has not answered, or those when it died."""
        return set(self._feeder.in_flight)

    def count_finished(self) -> int:
        """The pairs that the engine has answered so far."""
        return self._feeder.finished

    def judge_given(self, rows: Sequence[tuple[Pair, str | None, bool]]) -> list[Judgment]:
        """The judgment of each (pair, trace, whether it is complete), in order. One short request for each row."""
        return self._wait(self._judge_given(rows))

    def usage(self) -> Usage:
        """The tokens sent to the engine so far."""
        return Usage(self._engine.prompt_tokens, self._engine.cached_tokens)

    def close(self) -> None:
        """Stop the engine and its thread."""
        self._wait(self._engine.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _judge_given(self, rows: Sequence[tuple[Pair, str | None, bool]]) -> list[Judgment]:
        questions = (
            judge_given_trace(self._engine, pair, self._policy, trace, complete=complete)
            for pair, trace, complete in rows
        )
        return await asyncio.gather(*questions)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not future.done():
                wait([future], CTRL_C_S)
            return future.result()
        finally:
            future.cancel()  # does nothing, unless Ctrl-C ended the wait
