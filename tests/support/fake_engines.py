"""Hand-written engines for tests of the pure core: one records its questions, one waits for the test."""

import asyncio
from collections.abc import Sequence

from rank1_batch.engines.scripted import ScriptedEngine
from rank1_batch.judging.prompts import ControlTokens
from rank1_batch.judging.records import Reasoning
from rank1_batch.judging.scoring import Verdict


class RecordingEngine:
    """The scripted engine's answers, or those given here, and a record of every question."""

    def __init__(
        self,
        max_model_len: int = 4096,
        *,
        reasoning: Reasoning | None = None,
        verdict: Verdict | None = None,
        begin_ids: Sequence[int] = (),
    ) -> None:
        self._scripted = ScriptedEngine(max_model_len)
        self._reasoning, self._verdict = reasoning, verdict
        self.max_model_len = max_model_len
        self.begin_ids = begin_ids
        self.control: ControlTokens = self._scripted.control
        self.prompt_tokens = self.cached_tokens = 0
        self.encoded_letters = 0
        self.reason_asked: list[tuple[list[int], int]] = []
        self.verdict_asked: list[list[int]] = []

    def wrap_chat(self, message: str) -> str:
        return f"<user>{message}<model>"

    def encode(self, text: str) -> list[int]:
        self.encoded_letters += len(text)
        return self._scripted.encode(text)

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        self.reason_asked.append((list(prompt), max_tokens))
        return self._reasoning or await self._scripted.reason(prompt, max_tokens)

    async def verdict(self, prompt: Sequence[int]) -> Verdict:
        self.verdict_asked.append(list(prompt))
        return self._verdict or await self._scripted.verdict(prompt)

    async def close(self) -> None:
        await self._scripted.close()


class GatedEngine(RecordingEngine):
    """Keeps every row waiting in `reason` until its gate is opened. Records which rows wait, and in what order.

    The passage of a row is one letter, repeated. That letter names the row.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}
        self.started: list[str] = []
        self.running = self.most_running = 0
        self._changed = asyncio.Condition()

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        row = bytes(prompt[:-1]).decode().partition("Passage: ")[2].strip()
        self.started.append(row)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        async with self._changed:
            self._changed.notify_all()
        try:
            await self.gates.setdefault(row, asyncio.Event()).wait()
            return await super().reason(prompt, max_tokens)
        finally:
            self.running -= 1

    def open(self, *rows: str) -> None:
        for row in rows:
            self.gates.setdefault(row, asyncio.Event()).set()

    async def wait_started(self, count: int) -> None:
        async with self._changed, asyncio.timeout(10):
            await self._changed.wait_for(lambda: len(self.started) >= count)
