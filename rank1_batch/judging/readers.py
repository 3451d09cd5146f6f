"""How the answer of a model is read: the answers it may give, their values, and where the answer stands.

Knows nothing about tokens. `conf/reader` has a file for each reader, with the source of its rules.
"""

from typing import NamedTuple

from rank1_batch.judging.closing import THINK_END

TWO = 2
"""Answers of a plain yes or no. Their score needs no sum over grades."""

MOST_ANSWERS = 128
"""The most logprobs that vLLM 0.32 returns for one position by token id."""


class Answer(NamedTuple):
    """An answer, which must be one token, and its value. A higher value means more relevant."""

    text: str
    value: float


class Reader(NamedTuple):
    """The answers of a model, best first, and what stands before an answer.

    `think_end` ends the reasoning. It is None for models that answer without reasoning. `before` is the text between
    the reasoning (or the prompt, without reasoning) and the answer. A passage is relevant if the likeliest answer has
    at least the value `relevant_from`.
    """

    answers: tuple[Answer, ...]
    think_end: str | None = THINK_END
    before: str = ""
    relevant_from: float = 1.0

    @property
    def grades(self) -> bool:
        """Whether there are more than two answers, so that the likeliest one is a grade."""
        return len(self.answers) > TWO


RANK1 = Reader((Answer(" true", 1.0), Answer(" false", 0.0)))
"""Rank1's answers after `</think>`. The blank is part of each token. Source: orionw/rank1 @30585c2."""


def check_reader(reader: Reader) -> list[str]:
    """What is wrong with a reader, one sentence for each problem."""
    values = [answer.value for answer in reader.answers]
    if not TWO <= len(reader.answers) <= MOST_ANSWERS:
        return [f"reader.answers has {len(reader.answers)} answers, but must have {TWO} to {MOST_ANSWERS}"]
    if len(set(values)) != len(values):
        return ["reader.answers has two answers of the same value"]
    if not min(values) < reader.relevant_from <= max(values):
        limits = f"more than the least value ({min(values):g}) and at most the highest ({max(values):g})"
        return [f"reader.relevant_from is {reader.relevant_from:g}, but must be {limits}"]
    return []
