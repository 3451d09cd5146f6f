"""How well scores say the chance that a passage is relevant: shares of relevant pairs in bins of the score."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Flags = npt.NDArray[np.bool_]

BINS = 10


def build_reliability(score: Floats, relevant: Flags) -> dict[str, Any]:
    """The share of relevant pairs in each of ten score bins, with the Brier score and the calibration error.

    The calibration error is the mean distance between score and share over the bins, weighted by pairs.
    """
    if not len(score):
        return {"brier": None, "calibration_error": None, "bins": []}
    place = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    bins = []
    for number in range(BINS):
        inside = place == number
        if inside.any():
            mean, share = float(score[inside].mean()), float(relevant[inside].mean())
            bins.append(
                {"from": number / BINS, "pairs": int(inside.sum()), "mean_score": mean, "relevant_share": share}
            )
    error = sum(one["pairs"] * abs(one["mean_score"] - one["relevant_share"]) for one in bins) / len(score)
    return {"brier": float(np.mean((score - relevant) ** 2)), "calibration_error": error, "bins": bins}
