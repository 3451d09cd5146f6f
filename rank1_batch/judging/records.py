"""Pair, Reasoning, Verdict, Judgment, and the Engine that answers."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from rank1_batch.judging.prompts import ControlTokens
from rank1_batch.judging.scoring import Verdict


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


class BadRow(NamedTuple):
    """An input row that is no pair: nothing is asked, and the reason becomes its error."""

    reason: str


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


def failed_judgment(error: str) -> Judgment:
    """The judgment of a row that could not be judged: no score, and the reason why."""
    return Judgment(None, None, None, None, Finish.ERROR, None, 0, 0, passage_truncated=False, error=error)


def read_verdict(judgment: Judgment) -> Verdict | None:
    """The two logprobs of a judgment; None on error."""
    if judgment.true_logprob is None or judgment.false_logprob is None:
        return None
    return Verdict(judgment.true_logprob, judgment.false_logprob)
