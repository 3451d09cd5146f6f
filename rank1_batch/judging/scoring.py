"""Computes a score from a verdict. Knows nothing about where the logprobs come from."""

import math
from collections.abc import Sequence

from rank1_batch.errors import RowError
from rank1_batch.judging.readers import Reader

SATURATED = 1e-6
"""Scores closer than this to 0 or 1 (a gap of 13.8) hardly order rows: float32 has only 16 numbers left below 1."""

LEAST_MASS = 0.5

Verdict = tuple[float, ...]
"""Natural logarithms of the model's probabilities of the reader's answers, in the order of the answers."""


def score_verdict(verdict: Verdict, reader: Reader) -> float:
    """The relevance, 0 to 1: the expected value of the answer among the reader's answers, scaled to 0 … 1.

    With two answers this is exp(t) / (exp(t) + exp(f)), computed as sigmoid(t - f). It is Rank1's score (arXiv
    2502.18418, section 3). The logistic form never divides 0 by 0. float64 keeps scores apart up to a gap of 36
    (float32: 18). Raises RowError if a logprob is not a number.
    """
    if not reader.grades:
        return _sigmoid(verdict[0] - verdict[1], verdict)
    shares = _shares(verdict)
    values = [answer.value for answer in reader.answers]
    low, high = min(values), max(values)
    return sum(share * (value - low) / (high - low) for share, value in zip(shares, values, strict=True))


def grade_verdict(verdict: Verdict, reader: Reader) -> float:
    """The value of the likeliest answer. The least one if several are equally likely."""
    likeliest = max(verdict)
    return min(answer.value for answer, logprob in zip(reader.answers, verdict, strict=True) if logprob == likeliest)


def is_saturated(score: float) -> bool:
    """Whether a score is so close to 0 or 1 that it hardly orders rows."""
    return min(score, 1.0 - score) < SATURATED


def is_stray(verdict: Verdict) -> bool:
    """Whether the model wanted to write none of the answers: together they have less than half the probability."""
    return sum(map(math.exp, verdict)) < LEAST_MASS


def _sigmoid(gap: float, verdict: Verdict) -> float:
    if math.isnan(gap):
        raise RowError(f"the model gave no usable verdict: {verdict}")
    if gap >= 0:
        return 1.0 / (1.0 + math.exp(-gap))
    return math.exp(gap) / (1.0 + math.exp(gap))


def _shares(verdict: Verdict) -> Sequence[float]:
    """The probability of each answer among the answers."""
    highest = max(verdict)
    if any(map(math.isnan, verdict)) or math.isinf(highest):
        raise RowError(f"the model gave no usable verdict: {verdict}")
    weights = [math.exp(logprob - highest) for logprob in verdict]
    return [weight / sum(weights) for weight in weights]
