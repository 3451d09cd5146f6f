"""An engine that makes its answers from a hash of the prompt, for dry runs and tests without a model.

Its tokens are the bytes of the text and two control tokens. The same prompt gets the same answer on
any machine.
"""

import asyncio
import hashlib
import math
import os
import signal
from collections.abc import Sequence
from statistics import NormalDist

from rank1_batch.errors import EngineDiedError, RowError
from rank1_batch.judging.closing import THINK_END
from rank1_batch.judging.prompts import ControlTokens, build_control_tokens
from rank1_batch.judging.readers import TWO
from rank1_batch.judging.records import Reasoning
from rank1_batch.judging.scoring import Verdict

THINK_ID, CLOSE_ID = 256, 257

_CONTROL = {"<think>": THINK_ID, THINK_END: CLOSE_ID}

_SENTENCES = (
    "The query asks for one thing.",
    "The passage speaks of another.",
    "Some words are in both.",
    "That is not enough to be sure!",
    "Does it answer the question?",
)

MOST_SENTENCES = 8

SPREAD, LONG = 0.5, 25.0
"""SPREAD is the standard deviation of the logarithm of a row's time. LONG is the time of a long row, as a multiple of
the mean. Both match the traces in `benchmarks/in_flight.py`."""


class ScriptedEngine:
    """Reasons in up to eight fixed sentences. With two answers, its verdicts are between -8 and 8 (in log-odds).

    `seconds_per_token` and `seconds_per_row` make it slow. `seconds_per_row` is a mean: the hash of a row chooses
    its time from a log-normal distribution. The share `long_rows` of the rows takes LONG times the mean, like traces
    that reach their budget. A prompt that holds `fail_on` raises RowError. One that holds `die_on` kills the engine
    for good, `kill_on` the whole process, and `hang_on` gets no answer.
    """

    begin_ids: Sequence[int] = ()

    def __init__(  # noqa: PLR0913 (each is a setting of a dry run)
        self,
        max_model_len: int,
        seconds_per_token: float = 0.0,
        fail_on: str = "",
        die_on: str = "",
        *,
        kill_on: str = "",
        hang_on: str = "",
        seconds_per_row: float = 0.0,
        long_rows: float = 0.0,
        answers: int = TWO,
    ) -> None:
        self.max_model_len = max_model_len
        self.control: ControlTokens = build_control_tokens(_CONTROL)
        self.prompt_tokens = self.cached_tokens = 0
        self._seconds_per_token, self._seconds_per_row, self._long_rows = seconds_per_token, seconds_per_row, long_rows
        self._fail_on, self._die_on = fail_on.encode(), die_on.encode()
        self._answers = answers
        self._kill_on, self._hang_on = kill_on.encode(), hang_on.encode()
        self._dead = False

    def wrap_chat(self, message: str) -> str:
        """The message itself: this engine has no chat form."""
        return message

    def encode(self, text: str) -> list[int]:
        """The bytes of the text, with `<think>` and `</think>` as one number each."""
        ids: list[int] = []
        start = 0
        for match in self.control.pattern.finditer(text):
            ids += [*text[start : match.start()].encode(errors="replace"), _CONTROL[match[0]]]
            start = match.end()
        return ids + list(text[start:].encode(errors="replace"))

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        """Some sentences that the prompt's hash chooses, cut after `max_tokens`.

        As with any greedy model, a prompt that already ends with the first part of them gets the rest.
        """
        asked, begun = _split_begun(prompt)
        digest = await self._ask(asked)
        count = 1 + digest[0] % MOST_SENTENCES
        text = "\n" + " ".join(_SENTENCES[digest[1 + i] % len(_SENTENCES)] for i in range(count)) + "\n"
        ids = [*text.encode(), CLOSE_ID]
        ids = ids[len(begun) :] if ids[: len(begun)] == begun else ids
        complete = len(ids) <= max_tokens
        ids = ids[:max_tokens]
        # Wait as long as a model would take. The settings `seconds_per_…` say how long that is.
        await asyncio.sleep(self._seconds_per_token * len(ids) + self._row_seconds(digest))
        return Reasoning(ids, _decode(ids[:-1] if complete else ids), len(ids), complete)

    async def verdict(self, prompt: Sequence[int]) -> Verdict:
        """Logprobs that the prompt's hash chooses. Their probabilities add up to one."""
        digest = await self._ask(prompt)
        if self._answers > TWO:
            logits = [8.0 * byte / 255 for byte in hashlib.shake_128(digest).digest(self._answers)]
            whole = math.log(sum(map(math.exp, logits)))
            return tuple(logit - whole for logit in logits)
        gap = 16.0 * int.from_bytes(digest[:4], "big") / 2**32 - 8.0
        return -math.log1p(math.exp(-gap)), -math.log1p(math.exp(gap))

    async def close(self) -> None:
        """Does nothing: this engine holds nothing."""

    def _row_seconds(self, digest: bytes) -> float:
        if int.from_bytes(digest[-4:], "big") < self._long_rows * 2**32:
            return LONG * self._seconds_per_row
        chance = (int.from_bytes(digest[-8:-4], "big") + 0.5) / 2**32
        return self._seconds_per_row * math.exp(SPREAD * NormalDist().inv_cdf(chance) - SPREAD**2 / 2)

    async def _ask(self, prompt: Sequence[int]) -> bytes:
        data = _bytes(prompt)
        self.prompt_tokens += len(prompt)
        self._dead = self._dead or bool(self._die_on and self._die_on in data)
        if self._dead:
            raise EngineDiedError("the scripted engine died, because the prompt holds its `die_on` text")
        if self._kill_on and self._kill_on in data:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._hang_on and self._hang_on in data:
            await asyncio.Event().wait()
        if self._fail_on and self._fail_on in data:
            raise RowError("the scripted engine refused this row, because the prompt holds its `fail_on` text")
        return hashlib.blake2b(data, digest_size=16).digest()


def _split_begun(prompt: Sequence[int]) -> tuple[list[int], list[int]]:
    """A prompt up to its `<think>`, and the reasoning after it."""
    ids = list(prompt)
    end = len(ids) - ids[::-1].index(THINK_ID) if THINK_ID in ids else len(ids)
    return ids[:end], ids[end:]


def _bytes(ids: Sequence[int]) -> bytes:
    letters = "".join(map(chr, ids))
    for text, number in _CONTROL.items():
        letters = letters.replace(chr(number), text)
    return letters.encode("latin-1")


def _decode(ids: Sequence[int]) -> str:
    return _bytes(ids).decode(errors="replace")
