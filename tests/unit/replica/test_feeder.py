import asyncio
import functools
import gc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.engines.scripted import ScriptedEngine
from rank1_batch.errors import EngineDiedError
from rank1_batch.judging.pair import judge_pair
from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.judging.records import BadRow, Judgment, Pair, Policy, PolicyKind, Reasoning, failed_judgment
from rank1_batch.replica.feeder import Feeder
from tests.support.fake_engines import GatedEngine, RecordingEngine

POLICY = Policy(PolicyKind.FULL, 200, RANK1_TEMPLATE)

rows = st.one_of(
    st.sampled_from("abcdefgh").map(lambda letter: Pair("q", letter)),
    st.just(Pair("q", None)),
    st.just(BadRow("the passage is not valid UTF-8")),
)


def pairs(letters: str) -> list[Pair | BadRow]:
    return [Pair("q", letter) for letter in letters]


@given(st.lists(rows, max_size=30), st.integers(1, 8))
def test_each_row_gets_its_own_judgment_in_order(rows: list[Pair | BadRow], max_num_seqs: int) -> None:
    async def run() -> None:
        engine = ScriptedEngine(4096)
        judgments = await Feeder(engine, POLICY, max_num_seqs).judge(rows)
        alone = [
            failed_judgment(row.reason) if isinstance(row, BadRow) else await judge_pair(engine, row, POLICY)
            for row in rows
        ]
        assert judgments == alone

    asyncio.run(run())


@given(st.lists(st.lists(rows, max_size=10), max_size=6), st.integers(1, 4))
def test_units_judged_together_get_what_they_get_alone(units: list[list[Pair | BadRow]], max_num_seqs: int) -> None:
    async def run() -> None:
        feeder = Feeder(ScriptedEngine(4096), POLICY, max_num_seqs)
        together = await asyncio.gather(*(feeder.judge(unit) for unit in units))
        assert together == [await feeder.judge(unit) for unit in units]

    asyncio.run(run())


def test_equal_pairs_of_one_call_are_asked_once() -> None:
    engine = RecordingEngine()
    judgments = asyncio.run(Feeder(engine, POLICY, 8).judge(pairs("aabab")))
    assert len(engine.reason_asked) == len(engine.verdict_asked) == 2
    assert judgments[0] == judgments[1] == judgments[3]
    assert judgments[2] == judgments[4] != judgments[0]


def test_pairs_that_differ_in_title_or_instruction_alone_are_not_equal() -> None:
    engine = RecordingEngine()
    asyncio.run(
        Feeder(engine, POLICY, 8).judge([Pair("q", "a"), Pair("q", "a", title="t"), Pair("q", "a", instruction="i")])
    )
    assert len({tuple(prompt) for prompt in engine.verdict_asked}) == 3


def test_equal_pairs_of_calls_under_way_are_asked_once() -> None:
    async def run() -> None:
        engine = GatedEngine()
        feeder = Feeder(engine, POLICY, 8)
        first = asyncio.create_task(feeder.judge(pairs("ab")))
        await engine.wait_started(2)
        second = asyncio.create_task(feeder.judge(pairs("bc")))
        await engine.wait_started(3)
        engine.open("a", "b", "c")
        assert (await first)[1] == (await second)[0]
        assert sorted(engine.started) == ["a", "b", "c"]

    asyncio.run(run())


def test_nothing_is_remembered_of_rows_that_are_done() -> None:
    """Memory does not grow with the number of rows."""

    async def run() -> None:
        engine = RecordingEngine()
        feeder = Feeder(engine, POLICY, 8)
        for _ in range(3):
            await feeder.judge(pairs("abcd"))
            # One turn of the loop, no time: it holds what it runs until then.
            await asyncio.sleep(0)
            gc.collect()
            assert len(feeder._asked) == 0
        assert len(engine.reason_asked) == 12

    asyncio.run(run())


def test_rows_start_in_the_order_in_which_they_were_given_the_earlier_unit_first() -> None:
    async def run() -> None:
        engine = GatedEngine()
        feeder = Feeder(engine, POLICY, 2)
        units = [asyncio.create_task(feeder.judge(pairs(letters))) for letters in ("cab", "fed")]
        for count, letter in enumerate("cabfed", 1):
            await engine.wait_started(count)
            assert "".join(engine.started).startswith("cabfed"[:count])
            engine.open(letter)
        await asyncio.gather(*units)
        assert engine.started == list("cabfed")

    asyncio.run(run())


def test_a_unit_begins_when_its_first_row_has_a_slot_and_may_refuse_to() -> None:
    begun: list[str] = []

    def refuse() -> None:
        begun.append("refused")
        raise ValueError

    async def run() -> None:
        engine = GatedEngine()
        feeder = Feeder(engine, POLICY, 2)
        units = [
            asyncio.create_task(feeder.judge(pairs(letters), on_begin))
            for letters, on_begin in [
                ("abc", lambda: begun.append("abc")),
                ("def", refuse),
                ("ghi", lambda: begun.append("ghi")),
            ]
        ]
        await engine.wait_started(2)
        assert begun == ["abc"]
        engine.open("b")
        await engine.wait_started(3)
        assert begun == ["abc"]
        engine.open("c")
        await engine.wait_started(4)
        assert begun == ["abc", "refused", "ghi"]
        engine.open(*"aghi")
        judged = await asyncio.gather(*units, return_exceptions=True)
        assert isinstance(judged[1], ValueError)
        assert engine.started == list("abcghi")

    asyncio.run(run())


@pytest.mark.parametrize(("max_num_seqs", "slots"), [(1, 1), (5, 6), (10, 12)])
def test_a_fifth_more_rows_are_in_flight_than_the_engine_has_sequences_and_no_more(
    max_num_seqs: int, slots: int
) -> None:
    async def run() -> None:
        engine = GatedEngine()
        letters = "abcdefghijklmnopqrstuvwxyz"
        call = asyncio.create_task(Feeder(engine, POLICY, max_num_seqs).judge(pairs(letters)))
        await engine.wait_started(slots)
        engine.open(*letters)
        await call
        assert engine.most_running == slots

    asyncio.run(run())


def test_a_slow_row_holds_back_neither_the_next_unit_nor_the_rows_behind_it() -> None:
    async def run() -> None:
        engine = GatedEngine()
        feeder = Feeder(engine, POLICY, 2)
        slow = asyncio.create_task(feeder.judge(pairs("ab")))
        engine.open("b", "c", "d", "e")
        assert len(await feeder.judge(pairs("cde"))) == 3
        assert not slow.done()
        engine.open("a")
        assert len(await slow) == 2

    asyncio.run(run())


class DyingEngine(GatedEngine):
    """Dies over row `x`; all others wait at their gates."""

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        if b"Passage: x" in bytes(prompt[:-1]):
            raise EngineDiedError("gone")
        return await super().reason(prompt, max_tokens)


def test_the_death_of_an_engine_is_raised_at_once_while_others_still_wait() -> None:
    async def run() -> None:
        feeder = Feeder(DyingEngine(), POLICY, 8)
        async with asyncio.timeout(10):
            with pytest.raises(EngineDiedError):
                await feeder.judge(pairs("abx"))

    asyncio.run(run())


def test_after_the_death_of_an_engine_no_unit_begins() -> None:
    """What had begun is what the engine may have died of."""
    begun: list[str] = []

    async def run() -> None:
        engine = DyingEngine()
        feeder = Feeder(engine, POLICY, 2)
        calls = [
            asyncio.create_task(feeder.judge(pairs(letters), functools.partial(begun.append, letters)))
            for letters in ("ax", "cd", "ef")
        ]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in ended] == [EngineDiedError] * 3
        assert begun == ["ax"]
        assert engine.started == ["a"]

    asyncio.run(run())


def test_a_row_that_fails_takes_no_other_row_with_it() -> None:
    async def run() -> None:
        feeder = Feeder(ScriptedEngine(4096, fail_on="Passage: b"), POLICY, 8)
        judgments = await feeder.judge(pairs("abc"))
        assert [judgment.error is None for judgment in judgments] == [True, False, True]

    asyncio.run(run())


def test_every_judged_pair_is_told_as_soon_as_it_is_judged() -> None:
    async def run() -> None:
        engine, first, told = GatedEngine(), asyncio.Event(), list[tuple[Pair, Judgment]]()

        def on_judged(pair: Pair, judgment: Judgment) -> None:
            told.append((pair, judgment))
            first.set()

        call = asyncio.create_task(Feeder(engine, POLICY, 8, on_judged).judge(pairs("abcb")))
        await engine.wait_started(3)
        engine.open("b")
        async with asyncio.timeout(10):
            await first.wait()
        assert [pair for pair, _ in told] == pairs("b")
        engine.open("a", "c")
        a, b, c, _ = await call
        assert dict(told) == dict(zip(pairs("abc"), (a, b, c), strict=True))

    asyncio.run(run())


def test_groups_that_are_judged_apart_wait_until_nothing_is_in_flight_and_nothing_joins_them() -> None:
    begun: list[int] = []

    async def run() -> None:
        engine = GatedEngine()
        feeder = Feeder(engine, POLICY, 8)
        before = asyncio.create_task(feeder.judge(pairs("ab")))
        await engine.wait_started(2)
        apart = asyncio.create_task(feeder.judge_apart([pairs("cd"), pairs("e")], begun.append))
        after = asyncio.create_task(feeder.judge(pairs("f")))
        engine.open("a")
        await asyncio.wait(list(feeder.in_flight.values()), return_when=asyncio.FIRST_COMPLETED)
        assert begun == []
        for letters, number in (("b", 0), ("cd", 1)):
            engine.open(*letters)
            await engine.wait_started(len("abcd") + number)
            assert begun == [*range(number + 1)]
        assert engine.started == list("abcde")
        engine.open("e", "f")
        judged = await apart
        assert [len(group) for group in judged] == [2, 1]
        assert judged[1] == await feeder.judge(pairs("e"))
        await asyncio.gather(before, after)
        assert feeder.finished == len("abcdef") + 1

    asyncio.run(run())


def test_rows_in_flight_are_those_asked_and_not_answered_also_once_the_engine_is_dead() -> None:
    async def run() -> None:
        engine = DyingEngine()
        feeder = Feeder(engine, POLICY, 3)
        call = asyncio.create_task(feeder.judge(pairs("abcdxe")))
        await engine.wait_started(4)
        assert [pair.passage for pair in feeder.in_flight] == [*"abcd"]
        engine.open("b")
        with pytest.raises(EngineDiedError):
            await call
        engine.open("a")
        await feeder.in_flight[Pair("q", "a")]
        assert [pair.passage for pair in feeder.in_flight] == [*"acdx"]

    asyncio.run(run())


def test_groups_do_not_begin_on_a_dead_engine() -> None:
    begun: list[int] = []

    async def run() -> None:
        feeder = Feeder(DyingEngine(), POLICY, 8)
        with pytest.raises(EngineDiedError):
            await feeder.judge(pairs("x"))
        with pytest.raises(EngineDiedError):
            await feeder.judge_apart([pairs("a")], begun.append)

    asyncio.run(run())
    assert begun == []


def test_a_call_that_is_cancelled_frees_the_engine_and_its_pairs_are_asked_anew() -> None:
    """More pairs than slots: some wait for a slot, and some for the engine."""
    engine = GatedEngine()

    async def run() -> None:
        feeder = Feeder(engine, POLICY, 2)
        call = asyncio.create_task(feeder.judge(pairs("abcdef")))
        await engine.wait_started(2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        again = asyncio.create_task(feeder.judge(pairs("ab")))
        await engine.wait_started(4)
        engine.open(*"ab")
        assert [judgment.error for judgment in await again] == [None, None]
        assert engine.started == list("abab")

    asyncio.run(asyncio.wait_for(run(), 30))


def test_every_row_is_reported_when_it_is_judged() -> None:
    reported: list[int] = []
    rows = [*pairs("aab"), BadRow("the passage is null")]
    asyncio.run(Feeder(RecordingEngine(), POLICY, 2).judge(rows, on_row=lambda: reported.append(1)))
    assert len(reported) == 4
