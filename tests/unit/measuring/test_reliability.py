"""Scores beside the share of relevant pairs."""

import numpy as np
import pytest

from rank1_batch.measuring.reliability import build_reliability


def test_reliability_counts_every_pair_once_also_at_the_ends() -> None:
    score = np.array([0.0, 0.05, 0.5, 1.0])
    found = build_reliability(score, np.array([False, True, True, True]))
    assert [(one["from"], one["pairs"], one["relevant_share"]) for one in found["bins"]] == [
        (0.0, 2, 0.5),
        (0.5, 1, 1.0),
        (0.9, 1, 1.0),
    ]
    assert found["calibration_error"] == pytest.approx((2 * 0.475 + 0.5) / 4)
    assert found["brier"] == pytest.approx((0.95**2 + 0.25) / 4)
