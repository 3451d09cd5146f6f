"""What the judge counts on in every engine. `engine` comes from conftest.py, one parameter for each engine."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import pytest

from rank1_batch.judging.pair import judge_given_trace, judge_pair
from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.judging.records import Engine, Finish, Judgment, Pair, Policy, PolicyKind, Reasoning
from rank1_batch.judging.scoring import Verdict

T = TypeVar("T")

PROMPT = (
    "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
    "Query: {}\nPassage: {}\n<think>"
)
PAIRS = [
    ("capital of France", "Paris is the capital of France."),
    ("capital of France", "Bananas are yellow."),
    ("wer schrieb Faust", "Goethe (* 1749) schrieb den »Faust«. 😀"),
    ("x", "A passage that goes on and on. " * 20),
]


class Running(NamedTuple):
    """An engine, and a function that runs a coroutine on the event loop that the engine lives on."""

    engine: Engine
    run: Callable[[Coroutine[Any, Any, Any]], Any]


def encode(engine: Engine, text: str) -> list[int]:
    return [*engine.begin_ids, *engine.encode(text)]


def prompts(engine: Engine) -> list[list[int]]:
    return [encode(engine, PROMPT.format(*pair)) for pair in PAIRS]


def closed_prompts(engine: Engine) -> list[list[int]]:
    return [encode(engine, f"{PROMPT.format(*pair)}\nSo it is.\n</think>") for pair in PAIRS]


async def together(questions: list[Coroutine[Any, Any, T]]) -> list[T]:
    return await asyncio.gather(*questions)


def close_to(verdict: Verdict) -> Any:
    """Batched and alone, real models add their numbers up in another order."""
    return pytest.approx(verdict, abs=1e-3)


@pytest.mark.parametrize("max_tokens", [1, 8, 64])
def test_reasoning_ends_with_the_closing_ids_or_within_the_budget(engine: Running, max_tokens: int) -> None:
    close = engine.engine.encode("</think>")
    for prompt in prompts(engine.engine):
        reasoning: Reasoning = engine.run(engine.engine.reason(prompt, max_tokens))
        assert 0 <= reasoning.tokens <= max_tokens
        if reasoning.complete:
            assert list(reasoning.token_ids)[-len(close) :] == close
        else:
            assert len(reasoning.token_ids) <= max_tokens


def test_the_text_of_reasoning_never_holds_its_own_closing_token(engine: Running) -> None:
    for prompt in prompts(engine.engine):
        assert "</think>" not in engine.run(engine.engine.reason(prompt, 64)).text


def test_a_prompt_may_be_continued_with_its_own_reasoning(engine: Running) -> None:
    for prompt in prompts(engine.engine):
        reasoning: Reasoning = engine.run(engine.engine.reason(prompt, 16))
        verdict: Verdict = engine.run(engine.engine.verdict([*prompt, *reasoning.token_ids]))
        assert all(math.isfinite(logprob) for logprob in verdict)


def test_a_verdict_is_two_logprobs_of_one_distribution(engine: Running) -> None:
    for prompt in closed_prompts(engine.engine):
        verdict: Verdict = engine.run(engine.engine.verdict(prompt))
        assert all(math.isfinite(logprob) for logprob in verdict)
        assert math.exp(verdict[0]) + math.exp(verdict[1]) <= 1.0 + 1e-3


def test_the_same_prompt_gets_the_same_verdict(engine: Running) -> None:
    for prompt in closed_prompts(engine.engine):
        first = engine.run(engine.engine.verdict(prompt))
        assert engine.run(engine.engine.verdict(list(prompt))) == close_to(first)


def test_different_prompts_get_verdicts_of_their_own(engine: Running) -> None:
    verdicts = [engine.run(engine.engine.verdict(prompt)) for prompt in closed_prompts(engine.engine)]
    assert len(set(verdicts)) == len(verdicts)


def test_the_same_prompt_gets_the_same_reasoning(engine: Running) -> None:
    for prompt in prompts(engine.engine):
        first = engine.run(engine.engine.reason(prompt, 16))
        assert engine.run(engine.engine.reason(list(prompt), 16)) == first


def test_verdicts_asked_for_together_equal_those_asked_for_one_by_one(engine: Running) -> None:
    asked = closed_prompts(engine.engine)
    alone = [engine.run(engine.engine.verdict(prompt)) for prompt in asked]
    at_once = engine.run(together([engine.engine.verdict(prompt) for prompt in asked]))
    assert at_once == [close_to(verdict) for verdict in alone]


def test_reasoning_and_verdicts_asked_for_together_do_not_mix_up(engine: Running) -> None:
    """Each answer belongs to its question: lengths of reasoning and verdicts are those of one by one."""
    reason, closed = prompts(engine.engine), closed_prompts(engine.engine)
    verdicts = [engine.run(engine.engine.verdict(prompt)) for prompt in closed]
    budgets = [3, 5, 7, 9]
    questions: list[Coroutine[Any, Any, Any]] = [
        question
        for prompt, budget, other in zip(reason, budgets, closed, strict=True)
        for question in (engine.engine.reason(prompt, budget), engine.engine.verdict(other))
    ]
    answers = engine.run(together(questions))
    assert answers[1::2] == [close_to(verdict) for verdict in verdicts]
    for reasoning, budget in zip(answers[::2], budgets, strict=True):
        assert reasoning.tokens == budget or (reasoning.complete and reasoning.tokens < budget)


@pytest.mark.parametrize("max_tokens", [8, 400])
def test_a_trace_given_back_as_text_gets_the_verdict_that_it_got(engine: Running, max_tokens: int) -> None:
    """What the golden set counts on, for complete traces and closed ones; unusual tokens do not come back."""
    policy = Policy(PolicyKind.FULL, max_tokens, RANK1_TEMPLATE)
    compared = 0
    for query, passage in PAIRS:
        pair = Pair(query, passage)
        found: Judgment = engine.run(judge_pair(engine.engine, pair, policy))
        complete = found.finish is Finish.COMPLETE
        again: Judgment = engine.run(judge_given_trace(engine.engine, pair, policy, found.trace, complete=complete))
        assert (again.finish, again.trace, again.prompt_tokens) == (found.finish, found.trace, found.prompt_tokens)
        if not complete or again.trace_tokens == found.trace_tokens:
            compared += 1
            assert again.score == pytest.approx(found.score, abs=1e-3)
    assert compared


def test_encoding_adds_no_begin_ids(engine: Running) -> None:
    begin = list(engine.engine.begin_ids)
    assert engine.engine.encode("") == []
    assert not begin or engine.engine.encode("a text")[: len(begin)] != begin


def test_a_control_token_in_text_is_one_id(engine: Running) -> None:
    """Where the vocabulary has it as one token, which not every model's has."""
    for spelling in ("<think>", "</think>"):
        if engine.engine.control.pattern.fullmatch(spelling):
            (number,) = engine.engine.encode(spelling)
            ids = engine.engine.encode(f"a{spelling}b")
            assert ids == [*engine.engine.encode("a"), number, *engine.engine.encode("b")]


def test_a_control_token_that_is_cut_after_its_first_letter_is_no_control_token(engine: Running) -> None:
    for spelling in ("<think>", "</think>"):
        whole = engine.engine.encode(spelling)
        if engine.engine.control.pattern.fullmatch(spelling):
            assert whole[0] not in [*engine.engine.encode(spelling[0]), *engine.engine.encode(spelling[1:])]


def test_the_context_has_room_for_the_prompts_of_this_contract(engine: Running) -> None:
    assert all(len(prompt) + 64 < engine.engine.max_model_len for prompt in closed_prompts(engine.engine))
