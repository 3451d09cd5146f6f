"""Turns one pair into one judgment: reason, close the reasoning if it did not end, read the verdict.

Works with any `Engine`. Knows nothing about vLLM, Ray, files or tables.
"""

from rank1_batch.errors import RowError
from rank1_batch.judging.closing import close_reasoning
from rank1_batch.judging.fitting import encode_prompt, render_pair, reserve_closing
from rank1_batch.judging.readers import Reader
from rank1_batch.judging.records import (
    Begun,
    Engine,
    Finish,
    Judgment,
    Pair,
    Policy,
    PolicyKind,
    Reasoning,
    failed_judgment,
)
from rank1_batch.judging.scoring import Verdict, grade_verdict, score_verdict


async def judge_pair(engine: Engine, pair: Pair, policy: Policy) -> Judgment:
    """The judgment of one pair. A RowError becomes its `error`; any other error is raised."""
    try:
        prompt, truncated = encode_prompt(engine, render_pair(engine, pair, policy), policy)
        if policy.kind is PolicyKind.NO_THINK:
            reasoning = Reasoning((), "", 0, complete=False)
        else:
            room = engine.max_model_len - len(prompt) - reserve_closing(policy.reader)
            reasoning = await _reason(engine, prompt, min(policy.max_thinking_tokens, room), pair.begun)
        verdict = await engine.verdict(_close(engine, prompt, reasoning, policy.reader))
        return _judgment(policy, len(prompt), truncated, reasoning, verdict)
    except RowError as error:
        return failed_judgment(str(error))


async def judge_given_trace(
    engine: Engine, pair: Pair, policy: Policy, trace: str | None, *, complete: bool
) -> Judgment:
    """The judgment of a pair whose reasoning is known: only the verdict is requested. Errors as in `judge_pair`.

    The judgment equals that of `judge_pair` if the text of a complete trace is tokenised as it was
    generated. `trace_tokens` shows whether it was. `trace` is None without reasoning.
    """
    try:
        prompt, truncated = encode_prompt(engine, render_pair(engine, pair, policy), policy)
        ids = engine.encode(f"{trace}{policy.reader.think_end}" if complete else trace or "")
        reasoning = Reasoning(ids, trace or "", len(ids), complete)
        verdict = await engine.verdict(_close(engine, prompt, reasoning, policy.reader))
        return _judgment(policy, len(prompt), truncated, reasoning, verdict)
    except RowError as error:
        return failed_judgment(str(error))


async def _reason(engine: Engine, prompt: list[int], max_tokens: int, begun: Begun | None) -> Reasoning:
    """Reasoning of at most `max_tokens`. Earlier reasoning continues if the engine would write the same text again.

    That is so if the prompt is the same, decoding is greedy, and the trace's text gives its tokens back.
    """
    if begun is None or begun.prompt_tokens != len(prompt):
        return await engine.reason(prompt, max_tokens)
    start = engine.encode(begun.trace)
    if len(start) != begun.trace_tokens or len(start) >= max_tokens:
        return await engine.reason(prompt, max_tokens)
    rest = await engine.reason([*prompt, *start], max_tokens - len(start))
    return Reasoning([*start, *rest.token_ids], begun.trace + rest.text, len(start) + rest.tokens, rest.complete)


def _close(engine: Engine, prompt: list[int], reasoning: Reasoning, reader: Reader) -> list[int]:
    """The prompt of the verdict: the generated tokens, or the closed reasoning if it did not end by itself."""
    before = engine.encode(reader.before)
    if reader.think_end is None:
        return prompt + before
    if reasoning.complete:
        return [*prompt, *reasoning.token_ids, *before]
    closing = engine.encode(close_reasoning(reasoning.text, reader.think_end))
    spare = engine.max_model_len - len(prompt) - len(before) - 1
    if len(closing) <= spare:
        return prompt + closing + before
    # Tokenising the text can give more tokens than were generated. Then the last ones are cut.
    end = engine.encode(f"\n{reader.think_end}")
    return prompt + closing[: spare - len(end)] + end + before


def _judgment(policy: Policy, prompt_tokens: int, truncated: bool, reasoning: Reasoning, verdict: Verdict) -> Judgment:
    if policy.kind is PolicyKind.NO_THINK:
        finish, trace = Finish.NO_THINK, None
    else:
        finish, trace = (Finish.COMPLETE if reasoning.complete else Finish.CLOSED), reasoning.text
    reader = policy.reader
    score, grade = score_verdict(verdict, reader), grade_verdict(verdict, reader)
    return Judgment(
        score=score,
        true_logprob=None if reader.grades else verdict[0],
        false_logprob=None if reader.grades else verdict[1],
        label=grade >= reader.relevant_from,
        finish=finish,
        trace=trace,
        prompt_tokens=prompt_tokens,
        trace_tokens=reasoning.tokens,
        passage_truncated=truncated,
        error=None,
        answer_logprobs=verdict,
        grade=grade if reader.grades else None,
    )
