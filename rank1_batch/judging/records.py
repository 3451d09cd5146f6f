"""The records Pair, Reasoning, Verdict and Judgment, and the protocol of an Engine."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from rank1_batch.judging.prompts import ControlTokens
from rank1_batch.judging.readers import RANK1, Reader
from rank1_batch.judging.scoring import Verdict


class Begun(NamedTuple):
    """Reasoning that an earlier run closed at its budget, with its token counts of prompt and trace."""

    trace: str
    prompt_tokens: int
    trace_tokens: int


class Pair(NamedTuple):
    """A query and a passage to judge, as they stand in the input. None stands for null.

    `begun` is earlier reasoning to continue, if that gives the same result as starting again.
    """

    query: str | None
    passage: str | None
    title: str | None = None
    instruction: str | None = None
    begun: Begun | None = None


class BadRow(NamedTuple):
    """An input row that is not a valid pair. The model is not asked, and the reason becomes the row's error."""

    reason: str


class PolicyKind(StrEnum):
    """`full`: reason first, up to a budget. `no_think`: read the verdict at once."""

    FULL = "full"
    NO_THINK = "no_think"


class Policy(NamedTuple):
    """How to ask: the prompt's template, how long the model may think, and how its answer is read.

    `dataset_prompt` is the data set's own form of a query. `instruction` is for pairs without one, if the template
    has a place for it.
    """

    kind: PolicyKind
    max_thinking_tokens: int
    template: str
    dataset_prompt: str | None = None
    instruction: str | None = None
    reader: Reader = RANK1


class Finish(StrEnum):
    """How the reasoning of a row ended (the output's column `finish`)."""

    COMPLETE = "complete"
    CLOSED = "closed"
    NO_THINK = "no_think"
    ERROR = "error"


class Reasoning(NamedTuple):
    """What the model wrote after the prompt.

    `token_ids` go back to the engine unchanged. If `complete`, they end with the reader's `think_end`. `text` is the
    reasoning without it. `tokens` counts the generated tokens.
    """

    token_ids: Sequence[int]
    text: str
    tokens: int
    complete: bool


class Engine(Protocol):
    """A model that answers requests. It takes token ids, and returns reasoning or a verdict.

    `reason` and `verdict` raise RowError if the fault lies in this row alone, and EngineDiedError if
    the engine cannot answer any more.
    """

    max_model_len: int
    begin_ids: Sequence[int]
    """Ids at the start of every prompt (a BOS token, for models that need one)."""
    control: ControlTokens
    """The tokenizer's control tokens. Text of users must not turn into them."""
    prompt_tokens: int
    """Tokens of all prompts answered so far, for reasoning and for verdicts."""
    cached_tokens: int
    """How many of these tokens the engine found in its prefix cache."""

    def wrap_chat(self, message: str) -> str:
        """The text of a chat that ends where the model answers this message of the user."""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`. Control tokens in it become their ids. Nothing is added."""

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        """Continue `prompt` greedily until the end of reasoning, the model's end of text, or `max_tokens`."""

    async def verdict(self, prompt: Sequence[int]) -> Verdict:
        """The logprobs of the reader's answers at the position right after `prompt`."""

    async def close(self) -> None:
        """Stop the engine and free what it holds."""


class Judgment(NamedTuple):
    """The result of judging a pair. Score, label and logprobs are None on error.

    `true_logprob` and `false_logprob` are of the better and the worse one of two answers. With more answers they are
    None, and `grade` is the value of the likeliest answer.
    """

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
    answer_logprobs: Verdict | None = None
    grade: float | None = None


def failed_judgment(error: str) -> Judgment:
    """The judgment of a row that could not be judged: the reason, and no score."""
    return Judgment(None, None, None, None, Finish.ERROR, None, 0, 0, passage_truncated=False, error=error)
