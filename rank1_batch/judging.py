"""How one pair becomes one judgment: reason, close if need be, read the verdict.

Drives any `Engine`; knows nothing about vLLM, Ray, files or tables.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from rank1_batch.errors import RowError
from rank1_batch.parsing import close_reasoning
from rank1_batch.prompts import ControlTokens, Prompt, combine_query, combine_title, join_pieces, render_prompt
from rank1_batch.scoring import Verdict, score_verdict

THINK_END = "</think>"
CLOSING_TOKENS = 8
"""Room kept free after the reasoning for the newlines, `</think>` (at most 3 tokens) and the verdict."""

LONGEST_TOKEN = 64
"""Letters that a token stands for at most, when a huge passage is cut before it is tokenised."""


class Begun(NamedTuple):
    """Reasoning that an earlier run closed at its budget, with the numbers of tokens of prompt and trace."""

    trace: str
    prompt_tokens: int
    trace_tokens: int


class Pair(NamedTuple):
    """A query and a passage to be judged, as they stand in the input; None where it has null.

    `begun` is reasoning to go on with, where that comes to the same as to reason anew.
    """

    query: str | None
    passage: str | None
    title: str | None = None
    instruction: str | None = None
    begun: Begun | None = None


class PolicyKind(StrEnum):
    """`full`: reason first, up to a budget. `no_think`: read the verdict at once."""

    FULL = "full"
    NO_THINK = "no_think"


class Policy(NamedTuple):
    """How to ask: the prompt's template, the data set's prompt, and how long the model may think."""

    kind: PolicyKind
    max_thinking_tokens: int
    template: str
    dataset_prompt: str | None = None


class Finish(StrEnum):
    """How the reasoning of a row ended (DESIGN: the output's `finish` column)."""

    COMPLETE = "complete"
    CLOSED = "closed"
    NO_THINK = "no_think"
    ERROR = "error"


class Reasoning(NamedTuple):
    """What the model wrote after the prompt.

    `token_ids` go back to the engine as they are; where `complete`, they end with `</think>`.
    `text` is the reasoning without `</think>`; `tokens` counts what was generated.
    """

    token_ids: Sequence[int]
    text: str
    tokens: int
    complete: bool


class Engine(Protocol):
    """A model that can be asked. Sequences of token ids in, reasoning or a verdict out.

    `reason` and `verdict` raise RowError for what only this row can be blamed for, and
    EngineDiedError when nothing more can be asked.
    """

    max_model_len: int
    begin_ids: Sequence[int]
    """Ids that stand before every prompt (a BOS token, for the models that want one)."""
    control: ControlTokens
    """The control tokens of the tokenizer, which text of users must not spell."""
    prompt_tokens: int
    """Tokens of all prompts that were answered so far, of both kinds."""
    cached_tokens: int
    """Those of them that the engine found in its prefix cache."""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; control tokens in it become their ids; nothing is added."""

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        """Continue `prompt` greedily up to `</think>`, the model's own end, or `max_tokens`."""

    async def verdict(self, prompt: Sequence[int]) -> Verdict:
        """The two logprobs at the position right after `prompt`, which ends in `</think>`."""

    async def close(self) -> None:
        """End the engine, and let go of what it holds."""


class Judgment(NamedTuple):
    """All that is known about a pair after it was judged. Score and logprobs are None on error."""

    score: float | None
    true_logprob: float | None
    false_logprob: float | None
    label: bool | None
    finish: Finish
    trace: str | None
    prompt_tokens: int
    trace_tokens: int
    passage_truncated: bool
    error: str | None


async def judge_pair(engine: Engine, pair: Pair, policy: Policy) -> Judgment:
    """The judgment of one pair. A RowError becomes its `error`; any other error is raised."""
    try:
        prompt, truncated = encode_prompt(engine, render_pair(engine, pair, policy), policy)
        if policy.kind is PolicyKind.NO_THINK:
            reasoning = Reasoning((), "", 0, complete=False)
        else:
            room = engine.max_model_len - len(prompt) - CLOSING_TOKENS
            reasoning = await _reason(engine, prompt, min(policy.max_thinking_tokens, room), pair.begun)
        verdict = await engine.verdict(_close(engine, prompt, reasoning))
        return _judgment(policy, len(prompt), truncated, reasoning, verdict)
    except RowError as error:
        return failed_judgment(str(error))


async def judge_given_trace(
    engine: Engine, pair: Pair, policy: Policy, trace: str | None, *, complete: bool
) -> Judgment:
    """The judgment of a pair whose reasoning is known: the verdict alone is asked for. Errors as in `judge_pair`.

    It is `judge_pair`'s own where the text of a complete trace is tokenised as it was generated, which
    `trace_tokens` tells. `trace` is None without reasoning.
    """
    try:
        prompt, truncated = encode_prompt(engine, render_pair(engine, pair, policy), policy)
        ids = engine.encode(f"{trace}{THINK_END}" if complete else trace or "")
        reasoning = Reasoning(ids, trace or "", len(ids), complete)
        verdict = await engine.verdict(_close(engine, prompt, reasoning))
        return _judgment(policy, len(prompt), truncated, reasoning, verdict)
    except RowError as error:
        return failed_judgment(str(error))


def render_pair(engine: Engine, pair: Pair, policy: Policy) -> Prompt:
    """The prompt of a pair. Raises RowError where the query or the passage has no text."""
    for name in ("query", "passage"):
        if not (getattr(pair, name) or "").strip():
            raise RowError(f"the {name} is {'null' if getattr(pair, name) is None else 'empty'}")
    query = combine_query(pair.query or "", pair.instruction, policy.dataset_prompt)
    passage = combine_title(pair.title, pair.passage or "")
    return render_prompt(policy.template, query, passage, engine.control)


def encode_prompt(engine: Engine, prompt: Prompt, policy: Policy) -> tuple[list[int], bool]:
    """Token ids of a prompt, and whether its passage had to be cut for them to fit.

    A prompt may fill the model's context but for the thinking budget, of which at most a quarter
    of the context is held back. Raises RowError where not even the empty passage leaves that room.
    """
    reserve = min(policy.max_thinking_tokens, engine.max_model_len // 4)
    limit = engine.max_model_len - CLOSING_TOKENS - (0 if policy.kind is PolicyKind.NO_THINK else reserve)
    if sum(map(len, prompt.passage)) <= limit * LONGEST_TOKEN:
        whole = join_pieces((prompt.head, prompt.passage, prompt.tail), engine.control)
        ids = [*engine.begin_ids, *_encode_pieces(engine, whole)]
        if len(ids) <= limit:
            return ids, False
    head = [*engine.begin_ids, *_encode_pieces(engine, prompt.head)]
    tail = _encode_pieces(engine, prompt.tail)
    room = limit - len(head) - len(tail)
    if room <= 0:
        raise RowError(f"the query leaves no room for a passage: {len(head) + len(tail)} of {limit} tokens")
    return head + _encode_start(engine, prompt.passage, room) + tail, True


def failed_judgment(error: str) -> Judgment:
    """The judgment of a row that could not be judged: no score, and the reason why."""
    return Judgment(None, None, None, None, Finish.ERROR, None, 0, 0, passage_truncated=False, error=error)


def read_verdict(judgment: Judgment) -> Verdict | None:
    """The two logprobs of a judgment; None on error."""
    if judgment.true_logprob is None or judgment.false_logprob is None:
        return None
    return Verdict(judgment.true_logprob, judgment.false_logprob)


async def _reason(engine: Engine, prompt: list[int], max_tokens: int, begun: Begun | None) -> Reasoning:
    """Reasoning of at most `max_tokens`; what was begun is gone on with where the engine would write it again.

    That is so for the same prompt, greedy decoding, and a trace whose tokens can be told from its text.
    """
    if begun is None or begun.prompt_tokens != len(prompt):
        return await engine.reason(prompt, max_tokens)
    start = engine.encode(begun.trace)
    if len(start) != begun.trace_tokens or len(start) >= max_tokens:
        return await engine.reason(prompt, max_tokens)
    rest = await engine.reason([*prompt, *start], max_tokens - len(start))
    return Reasoning([*start, *rest.token_ids], begun.trace + rest.text, len(start) + rest.tokens, rest.complete)


def _encode_pieces(engine: Engine, pieces: Sequence[str]) -> list[int]:
    return [token for piece in pieces for token in engine.encode(piece)]


def _encode_start(engine: Engine, pieces: Sequence[str], room: int) -> list[int]:
    """The first `room` tokens of a passage. Text that cannot be among them is not tokenised."""
    ids: list[int] = []
    for piece in pieces:
        if len(ids) >= room:
            break
        ids += engine.encode(piece[: (room - len(ids)) * LONGEST_TOKEN])
    return ids[:room]


def _close(engine: Engine, prompt: list[int], reasoning: Reasoning) -> list[int]:
    """The prompt of the verdict: what was generated, or its closed form where it has no end."""
    if reasoning.complete:
        return [*prompt, *reasoning.token_ids]
    closing = engine.encode(close_reasoning(reasoning.text))
    spare = engine.max_model_len - len(prompt) - 1
    if len(closing) <= spare:
        return prompt + closing
    # Text can come back from the tokenizer longer than it was generated: its end gives way.
    end = engine.encode("\n</think>")
    return prompt + closing[: spare - len(end)] + end


def _judgment(policy: Policy, prompt_tokens: int, truncated: bool, reasoning: Reasoning, verdict: Verdict) -> Judgment:
    if policy.kind is PolicyKind.NO_THINK:
        finish, trace = Finish.NO_THINK, None
    else:
        finish, trace = (Finish.COMPLETE if reasoning.complete else Finish.CLOSED), reasoning.text
    return Judgment(
        score=score_verdict(verdict),
        true_logprob=verdict.true_logprob,
        false_logprob=verdict.false_logprob,
        label=verdict.true_logprob > verdict.false_logprob,
        finish=finish,
        trace=trace,
        prompt_tokens=prompt_tokens,
        trace_tokens=reasoning.tokens,
        passage_truncated=truncated,
        error=None,
    )
