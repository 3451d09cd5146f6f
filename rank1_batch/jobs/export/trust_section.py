"""The card's figures on agreement with people: for the verdicts, the scores, and the exported labels."""

from collections.abc import Callable
from typing import Any

from rank1_batch.jobs.export.settings import TrustConfig
from rank1_batch.jobs.export.trust import (
    KAPPA,
    PRECISION,
    RECALL,
    Graded,
    measure_agreement,
    propose_thresholds,
    split_graded,
)
from rank1_batch.measuring.reliability import Floats, build_reliability


def describe_trust(
    graded: Graded, exported: Graded, calibrate: Callable[[Floats], Floats] | None, config: TrustConfig, seed: int
) -> dict[str, Any]:
    """Agreement of verdicts and of exported labels, reliability before and after calibration, thresholds.

    Calibration and thresholds are fitted on one part of the queries. Reliability and the results of
    the thresholds are measured on the other part, and so are labels that come from calibrated scores.
    One-sided grades show neither reliability nor a threshold.
    """
    fit, report = split_graded(graded, config.fit_share, seed)
    reliability = {"judged": build_reliability(report.score, report.relevant)}
    if calibrate is not None:
        fit, report = (part._replace(score=calibrate(part.log_odds)) for part in (fit, report))
        reliability["calibrated"] = build_reliability(report.score, report.relevant)
        _, exported = split_graded(exported, config.fit_share, seed)
    return {
        "graded": _count(graded),
        "one_sided": graded.one_sided,
        "verdicts": measure_agreement(graded, config.resamples, seed),
        "labels": _describe_labels(exported, config.resamples, seed),
        "fitted_on": _count(fit),
        "reported_on": _count(report),
        "reliability": {} if graded.one_sided else reliability,
        "thresholds": propose_thresholds(fit, report, config.wanted_precision, config.resamples, seed),
    }


def _describe_labels(exported: Graded, resamples: int, seed: int) -> dict[str, Any]:
    """Agreement of the exported labels, over the exported pairs that people have graded."""
    found = measure_agreement(exported, resamples, seed)
    swapped = exported._replace(label=~exported.label, relevant=~exported.relevant)
    negatives = measure_agreement(swapped, resamples, seed)[PRECISION]
    return {
        "graded": _count(exported),
        "precision_of_positives": found[PRECISION],
        "precision_of_negatives": negatives,
        RECALL: found[RECALL],
        KAPPA: found[KAPPA],
    }


def _count(graded: Graded) -> dict[str, int]:
    queries = len(set(graded.query.tolist()))
    return {"pairs": len(graded.relevant), "relevant": int(graded.relevant.sum()), "queries": queries}
