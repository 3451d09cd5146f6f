import asyncio
import math
from statistics import mean, stdev
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.engines import scripted
from rank1_batch.engines.scripted import CLOSE_ID, LONG, THINK_ID, ScriptedEngine
from rank1_batch.errors import EngineDiedError, RowError
from rank1_batch.judging.readers import RANK1
from rank1_batch.judging.scoring import score_verdict

ENGINE = ScriptedEngine(4096)


@given(st.text())
def test_a_token_is_a_byte_of_the_text(text: str) -> None:
    ids = ENGINE.encode(text.replace("<", "("))
    assert bytes(ids).decode() == text.replace("<", "(")


def test_control_tokens_are_one_token_each() -> None:
    assert ENGINE.encode("a<think>b</think><think") == [97, THINK_ID, 98, CLOSE_ID, *b"<think"]


def test_letters_that_are_no_letters_do_not_stop_it() -> None:
    assert ENGINE.encode("a\ud800b") == [*b"a?b"]


@given(st.binary(max_size=50), st.integers(1, 400))
def test_reasoning_ends_with_the_closing_token_or_at_the_budget(prompt: bytes, max_tokens: int) -> None:
    reasoning = asyncio.run(ENGINE.reason(list(prompt), max_tokens))
    whole = asyncio.run(ENGINE.reason(list(prompt), 10_000))
    assert whole.complete
    assert whole.token_ids == [*whole.text.encode(), CLOSE_ID]
    assert reasoning.complete is (whole.tokens <= max_tokens)
    assert list(reasoning.token_ids) == list(whole.token_ids)[:max_tokens]
    assert reasoning.tokens == len(reasoning.token_ids)
    assert whole.text.startswith(reasoning.text)


@given(st.binary(max_size=50))
def test_a_verdict_is_two_probabilities_that_add_up_to_one(prompt: bytes) -> None:
    verdict = asyncio.run(ENGINE.verdict(list(prompt)))
    assert math.exp(verdict[0]) + math.exp(verdict[1]) == pytest.approx(1.0)
    assert -8.0 <= verdict[0] - verdict[1] <= 8.0


def test_answers_differ_from_prompt_to_prompt_and_are_even() -> None:
    """A dry run exercises both labels and all lengths."""
    scores = [score_verdict(asyncio.run(ENGINE.verdict([*str(n).encode()])), RANK1) for n in range(500)]
    assert len(set(scores)) == 500
    assert mean(scores) == pytest.approx(0.5, abs=0.1)
    assert len({asyncio.run(ENGINE.reason([*str(n).encode()], 10_000)).tokens for n in range(100)}) > 20


def test_it_fails_on_the_rows_that_it_is_told_to() -> None:
    engine = ScriptedEngine(4096, fail_on="bad")
    with pytest.raises(RowError):
        asyncio.run(engine.reason(engine.encode("a bad row"), 10))
    with pytest.raises(RowError):
        asyncio.run(engine.verdict(engine.encode("a bad row")))
    assert asyncio.run(engine.reason(engine.encode("a good row"), 10)).tokens == 10


def test_once_dead_it_answers_no_more() -> None:
    engine = ScriptedEngine(4096, die_on="<think>deadly")
    asyncio.run(engine.verdict(engine.encode("fine")))
    for text in ("<think>deadly", "fine"):
        with pytest.raises(EngineDiedError):
            asyncio.run(engine.verdict(engine.encode(text)))


def test_one_row_hangs_and_others_do_not() -> None:
    engine = ScriptedEngine(4096, hang_on="endless")

    async def run() -> None:
        hanging = asyncio.create_task(engine.verdict(engine.encode("an endless row")))
        await engine.verdict(engine.encode("another row"))
        assert not hanging.done()
        hanging.cancel()

    asyncio.run(run())


def test_it_counts_the_tokens_that_it_was_sent_in_both_passes() -> None:
    async def run() -> int:
        engine = ScriptedEngine(4096)
        await engine.reason([1, 2, 3], 5)
        await engine.verdict([1, 2, 3, 4])
        await engine.close()
        return engine.prompt_tokens

    assert asyncio.run(run()) == 7


def test_rows_take_times_of_a_long_tailed_distribution_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the engine is the test's: 4,000 rows take no time."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask(engine: ScriptedEngine) -> list[float]:
        slept.clear()
        for row in range(4000):
            await engine.reason([*str(row).encode()], 100)
        return [*slept]

    monkeypatch.setattr(scripted, "asyncio", SimpleNamespace(sleep=sleep))
    even = asyncio.run(ask(ScriptedEngine(4096, seconds_per_row=2.0)))
    assert mean(even) == pytest.approx(2.0, rel=0.05)
    assert stdev(map(math.log, even)) == pytest.approx(0.5, rel=0.05)
    tailed = asyncio.run(ask(ScriptedEngine(4096, seconds_per_row=2.0, long_rows=0.03)))
    assert tailed == asyncio.run(ask(ScriptedEngine(4096, seconds_per_row=2.0, long_rows=0.03)))
    long = [seconds for seconds in tailed if seconds == 2.0 * LONG]
    assert len(long) / 4000 == pytest.approx(0.03, rel=0.25)
    assert set(tailed) - set(long) <= set(even)


@given(st.binary(max_size=50), st.integers(3, 128))
def test_more_than_two_answers_get_probabilities_that_add_up_to_one(prompt: bytes, answers: int) -> None:
    verdict = asyncio.run(ScriptedEngine(4096, answers=answers).verdict(list(prompt)))
    assert len(verdict) == answers
    assert sum(map(math.exp, verdict)) == pytest.approx(1.0)
