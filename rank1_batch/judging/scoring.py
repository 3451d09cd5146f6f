"""Computes a score from a verdict. Knows nothing about where the two logprobs come from."""

import math
from typing import NamedTuple

from rank1_batch.errors import RowError

SATURATED = 1e-6
"""Scores closer than this to 0 or 1 (a gap of 13.8) hardly order rows: float32 has only 16 numbers left below 1."""

LEAST_MASS = 0.5

TRUE_ANSWER, FALSE_ANSWER = " true", " false"
"""Rank1's answers after `</think>`. The blank is part of each token."""


class Verdict(NamedTuple):
    """Natural logarithms of the model's probabilities of " true" and " false" after `</think>`."""

    true_logprob: float
    false_logprob: float


def score_verdict(verdict: Verdict) -> float:
    """Rank1's relevance, 0 to 1: exp(t) / (exp(t) + exp(f)), computed as sigmoid(t - f).

    Source: arXiv 2502.18418, section 3. The logistic form never divides 0 by 0. float64 keeps scores
    apart up to a gap of 36 (float32: 18). Raises RowError if a logprob is not a number.
    """
    gap = verdict.true_logprob - verdict.false_logprob
    if math.isnan(gap):
        raise RowError(f"the model gave no usable verdict: {verdict}")
    if gap >= 0:
        return 1.0 / (1.0 + math.exp(-gap))
    return math.exp(gap) / (1.0 + math.exp(gap))


def is_saturated(score: float) -> bool:
    """Whether a score is so close to 0 or 1 that it hardly orders rows."""
    return min(score, 1.0 - score) < SATURATED


def is_stray(verdict: Verdict) -> bool:
    """Whether the model wanted to write neither true nor false: together they have less than half the probability."""
    return math.exp(verdict.true_logprob) + math.exp(verdict.false_logprob) < LEAST_MASS
