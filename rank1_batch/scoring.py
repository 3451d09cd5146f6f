"""A score from a verdict. Knows nothing about where the two logprobs come from."""

import math
from typing import NamedTuple

from rank1_batch.errors import RowError


class Verdict(NamedTuple):
    """Natural logarithms of the model's probabilities of " true" and " false" after `</think>`."""

    true_logprob: float
    false_logprob: float


def score_verdict(verdict: Verdict) -> float:
    """Rank1's relevance, 0 to 1: exp(t) / (exp(t) + exp(f)), computed as sigmoid(t - f).

    Source: arXiv 2502.18418, section 3. The logistic form never divides 0 by 0, and float64 keeps
    scores apart up to a gap of 36 (float32: 18). Raises RowError where a logprob is no number.
    """
    gap = verdict.true_logprob - verdict.false_logprob
    if math.isnan(gap):
        raise RowError(f"the model gave no usable verdict: {verdict}")
    if gap >= 0:
        return 1.0 / (1.0 + math.exp(-gap))
    return math.exp(gap) / (1.0 + math.exp(gap))
