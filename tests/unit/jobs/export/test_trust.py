"""Agreement with people: scikit-learn is the judge of our faster formulas."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, precision_score, recall_score, roc_auc_score

from rank1_batch.errors import SettingsError
from rank1_batch.jobs.export.trust import (
    AUROC,
    KAPPA,
    LEAST_PAIRS,
    PRECISION,
    RECALL,
    Graded,
    bound_precisions,
    build_graded,
    fit_calibration,
    measure_agreement,
    measure_weighted,
    propose_thresholds,
    split_graded,
)
from rank1_batch.measuring.reliability import build_reliability

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["q1", "q2", "q3"]), st.booleans(), st.floats(-5, 5), st.sampled_from([0.1, 0.4, 0.5, 0.9]),
        st.booleans(),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


def make_graded(count: int, skew: float = 0.0, seed: int = 0) -> Graded:
    """Pairs of 40 queries; people find a pair relevant with the probability that its log-odds less `skew` say."""
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        log_odds = float(chance.normal(0, 2))
        relevant = bool(chance.random() < 1 / (1 + math.exp(skew - log_odds)))
        rows.append((f"q{number % 40}", log_odds > 0, log_odds, 1 / (1 + math.exp(-log_odds)), relevant))
    return build_graded(rows)


def make_clustered(queries: int, seed: int) -> Graded:
    """20 pairs a query; people are strict in some queries and mild in others."""
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(queries):
        strict = chance.normal(0.5, 1.0)
        for _ in range(20):
            log_odds = float(chance.normal(0, 2.5))
            relevant = bool(chance.random() < 1 / (1 + math.exp(strict - log_odds)))
            rows.append((f"q{number}", log_odds > 0, log_odds, 1 / (1 + math.exp(-log_odds)), relevant))
    return build_graded(rows)


@given(ROWS, st.integers(1, 5), st.integers(0, 4), st.integers(0, 4))
def test_weighted_measures_are_those_of_scikit_learn(rows: list[Any], a: int, b: int, c: int) -> None:
    graded = build_graded(rows)
    weights = np.array([{"q1": a, "q2": b, "q3": c}[query_id] for query_id in graded.queries], dtype=float)
    found = {name: values[0] for name, values in measure_weighted(graded, weights[None, :]).items()}
    own = weights[graded.query]
    assume(own.any())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what is not defined; it is NaN here
        undefined = {"zero_division": np.nan, "sample_weight": own}
        expected = {
            PRECISION: precision_score(graded.relevant, graded.label, **undefined),
            RECALL: recall_score(graded.relevant, graded.label, **undefined),
            KAPPA: cohen_kappa_score(graded.label, graded.relevant, sample_weight=own),
            AUROC: math.nan,
        }
        if len(set(graded.relevant[own > 0].tolist())) == 2:
            expected[AUROC] = roc_auc_score(graded.relevant, graded.score, sample_weight=own)
    assert found == pytest.approx(expected, nan_ok=True)


def test_values_lie_in_their_intervals_and_more_pairs_make_them_narrow() -> None:
    few, many = (measure_agreement(make_graded(count), resamples=200, seed=1) for count in (200, 8000))
    for name in (PRECISION, RECALL, KAPPA, AUROC):
        assert few[name]["low"] <= few[name]["value"] <= few[name]["high"]
        assert many[name]["high"] - many[name]["low"] < few[name]["high"] - few[name]["low"]


def test_a_verdict_that_always_agrees_is_perfect() -> None:
    graded = make_graded(200)
    found = measure_agreement(graded._replace(label=graded.relevant, score=graded.relevant.astype(np.float64)), 50, 0)
    assert {name: measure["value"] for name, measure in found.items()} == dict.fromkeys(found, 1.0)


def test_what_is_not_defined_is_none_and_one_query_has_no_interval() -> None:
    found = measure_agreement(build_graded([("q", False, -1.0, 0.3, False)]), 50, 0)
    assert all(measure == {"value": None, "low": None, "high": None} for measure in found.values())
    assert all(measure["value"] is None for measure in measure_agreement(build_graded([]), 50, 0).values())
    alone = measure_agreement(build_graded([("q", True, 1.0, 0.7, True), ("q", True, 1.0, 0.8, False)]), 50, 0)
    assert alone[PRECISION] == {"value": 0.5, "low": None, "high": None}


@given(st.integers(0, 20), st.floats(0.1, 0.9))
def test_no_query_is_fitted_on_and_reported_on(seed: int, share: float) -> None:
    graded = make_graded(200)
    fit, report = split_graded(graded, share, seed)
    assert not set(fit.query.tolist()) & set(report.query.tolist())
    assert len(fit.query) + len(report.query) == 200


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_calibration_mends_scores_that_are_too_high(kind: str) -> None:
    fit, report = split_graded(make_graded(6000, skew=3.0), 0.5, seed=0)
    calibrated = fit_calibration(kind, fit, report).probability(report.log_odds)
    before, after = build_reliability(report.score, report.relevant), build_reliability(calibrated, report.relevant)
    assert after["calibration_error"] < 0.05 < before["calibration_error"]
    assert after["brier"] < before["brier"]


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_calibration_keeps_the_order(kind: str) -> None:
    fit, report = split_graded(make_graded(2000), 0.5, seed=0)
    calibration = fit_calibration(kind, fit, report)
    probability = calibration.probability(np.linspace(-120, 120, 500))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    if calibration.log_odds is not None:
        odds = calibration.log_odds(np.array([-1.0, 2.0]))
        assert 1 / (1 + np.exp(-odds)) == pytest.approx(calibration.probability(np.array([-1.0, 2.0])))


def test_calibration_needs_both_classes_in_both_parts() -> None:
    graded = make_graded(100)
    with pytest.raises(SettingsError, match="needs relevant and irrelevant pairs to report on; found 0 relevant of"):
        fit_calibration("platt", graded, graded.take(~graded.relevant))


@given(st.integers(0, 30))
def test_a_proposed_threshold_reaches_the_precision_where_it_was_fitted(seed: int) -> None:
    fit, report = split_graded(make_graded(2000, seed=seed), 0.5, seed)
    for found in propose_thresholds(fit, report, [0.7, 0.9], 20, 0):
        threshold = found["positive_from"]
        if threshold is not None:
            reached = fit.relevant[fit.score >= threshold].mean()
            assert reached >= found["lower_bound"] >= found["wanted_precision"]
            assert found["pairs"] == (fit.score >= threshold).sum() >= LEAST_PAIRS
            told = report.relevant[report.score >= threshold].mean()
            assert found["precision"]["value"] == pytest.approx(told)


def test_thresholds_keep_the_wanted_precision_for_queries_that_nobody_saw() -> None:
    """Over 100 draws of 40 queries. Point estimates fell short of it in 53 to 56 of 100."""
    truth, short, none = make_clustered(4000, 99), 0, 0
    for seed in range(100):
        good = [cut for cut in bound_precisions(make_clustered(40, seed)) if cut.lower_bound >= 0.8]
        none += not good
        short += bool(good) and truth.relevant[truth.score >= good[-1].positive_from].mean() < 0.8
    assert short <= 5
    assert none <= 20


def test_a_lower_bound_is_that_of_the_textbook() -> None:
    """Clopper and Pearson, 57 of 60 and a risk of 5 %: scipy.stats.binomtest(57, 60) has the lower end 0.87581."""
    rows = [(f"q{n}", True, 1.0, 0.9, n >= 3) for n in range(60)]
    [cut] = bound_precisions(build_graded(rows))
    by_query = 57 / 60 - 1.6711 * math.sqrt(57 * 3 / 60 / 59 / 60)  # t(0.95, 59) times the standard error of a mean
    assert (cut.positive_from, cut.pairs) == (0.9, 60)
    assert cut.lower_bound == pytest.approx(min(0.87581, by_query), abs=1e-4)


def test_few_pairs_and_a_single_query_give_no_bound() -> None:
    assert bound_precisions(build_graded([(f"q{n}", True, 1.0, 0.9, True) for n in range(LEAST_PAIRS - 1)])) == []
    [cut] = bound_precisions(build_graded([("q", True, 1.0, 0.9, True)] * LEAST_PAIRS))
    assert cut.lower_bound == 0.0


def test_one_sided_grades_show_recall_alone() -> None:
    """With only relevant pairs any labels have a precision of 1 and a kappa of 0, and random scores any threshold."""
    graded = make_graded(500)._replace(relevant=np.ones(500, dtype=np.bool_))
    found = measure_agreement(graded, 50, 0)
    nothing = {"value": None, "low": None, "high": None}
    assert (found[PRECISION], found[KAPPA], found[AUROC]) == (nothing, nothing, nothing)
    assert found[RECALL]["value"] == pytest.approx(graded.label.mean())
    assert propose_thresholds(graded, graded, [0.5], 20, 0) == [{"wanted_precision": 0.5, "positive_from": None}]


def test_a_precision_that_no_score_reaches_has_no_threshold() -> None:
    graded = make_graded(100)
    wrong = graded._replace(relevant=np.zeros(100, dtype=bool))
    assert propose_thresholds(wrong, wrong, [0.9], 20, 0) == [{"wanted_precision": 0.9, "positive_from": None}]
