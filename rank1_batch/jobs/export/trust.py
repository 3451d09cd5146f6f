"""How well labels agree with people: measures with intervals, reliability, calibration, thresholds.

Pairs of one query are alike. So whole queries, not pairs, are drawn for intervals and split into the
part to fit on and the part to report on. Queries with the same text count as one. Knows nothing about files.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rank1_batch.errors import SettingsError
from rank1_batch.jobs.export.choice import draw_share
from rank1_batch.measuring.reliability import Flags, Floats

INTERVAL = (2.5, 97.5)

LEAST_PAIRS, STEP = 50, 2**0.5
"""A threshold needs so many graded pairs above it. Each that is tried has STEP times the pairs of the one before."""

RISK = 0.05
"""The chance that any of the lower bounds of precision is too high."""

MEASURES = PRECISION, RECALL, KAPPA, AUROC = "precision", "recall", "kappa", "auroc"


class Graded(NamedTuple):
    """Pairs that both the model and people have judged, as columns.

    `queries` are the distinct texts of queries (ids, if no texts were read). `query` is, for each pair, the
    index of its query in that list.
    """

    queries: list[str]
    query: npt.NDArray[np.int64]
    label: Flags
    log_odds: Floats
    score: Floats
    relevant: Flags

    @property
    def one_sided(self) -> bool:
        """Whether people call all pairs relevant, or none."""
        return not _has_both(self.relevant)

    def take(self, mask: Flags) -> "Graded":
        """The pairs for which the mask is true."""
        rest = (self.label[mask], self.log_odds[mask], self.score[mask], self.relevant[mask])
        return Graded(self.queries, self.query[mask], *rest)


def build_graded(rows: Sequence[tuple[str, bool, float, float, bool]]) -> Graded:
    """Graded pairs from rows of query text, label, log-odds, score, and whether people call the passage relevant."""
    queries = sorted({row[0] for row in rows})
    numbers = {query_id: number for number, query_id in enumerate(queries)}
    query = np.array([numbers[row[0]] for row in rows], dtype=np.int64)
    kinds = (np.bool_, np.float64, np.float64, np.bool_)
    return Graded(queries, query, *(np.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds, 1)))


def split_graded(graded: Graded, fit_share: float, seed: int) -> tuple[Graded, Graded]:
    """The part to fit on and the part to report on; no query is in both."""
    fits = np.array([draw_share(seed, "fit", query_id) < fit_share for query_id in graded.queries], dtype=np.bool_)
    mask = fits[graded.query]
    return graded.take(mask), graded.take(~mask)


def measure_agreement(graded: Graded, resamples: int, seed: int) -> dict[str, Any]:
    """Precision, recall, Cohen's kappa and AUROC of labels and scores, each with its 95 % interval.

    A value is None if it is not defined: nothing is labelled positive, or nothing is relevant. With
    one-sided grades only recall is defined. Precision would be 1 (or 0) and kappa 0 for any labels.
    """
    values = _measure(graded)
    drawn = _measure_resampled(graded, resamples, seed)
    return {name: {"value": values[name], **_interval(drawn[name], values[name])} for name in MEASURES}


def _measure(graded: Graded) -> dict[str, float | None]:
    from sklearn.metrics import cohen_kappa_score, precision_score, recall_score, roc_auc_score

    label, relevant = graded.label, graded.relevant
    measures: dict[str, tuple[bool, Callable[[], float]]] = {
        PRECISION: (bool(label.any()) and _has_both(relevant), lambda: precision_score(relevant, label)),
        RECALL: (bool(relevant.any()), lambda: recall_score(relevant, label)),
        KAPPA: (_has_both(relevant), lambda: cohen_kappa_score(label, relevant)),
        AUROC: (_has_both(relevant), lambda: roc_auc_score(relevant, graded.score)),
    }
    return {name: float(compute()) if defined else None for name, (defined, compute) in measures.items()}


def _measure_resampled(graded: Graded, resamples: int, seed: int) -> dict[str, Floats]:
    """The same measures for queries drawn with replacement; NaN where a measure is not defined."""
    present = np.unique(graded.query)
    weights = np.zeros((resamples, len(graded.queries)))
    if len(present) > 1:  # one query says nothing about how queries differ
        chance = np.random.default_rng(seed)
        weights[:, present] = chance.multinomial(len(present), np.full(len(present), 1 / len(present)), resamples)
    return measure_weighted(graded, weights)


def measure_weighted(graded: Graded, weights: Floats) -> dict[str, Floats]:
    """The measures for each row of `weights`. A row has one weight for each query.

    scikit-learn's functions take a hundred times as long: 23 ms of CPU for each row instead of 0.2 ms, with 10,000
    pairs of 500 queries.
    """
    cells = [graded.label & graded.relevant, graded.label & ~graded.relevant, ~graded.label & graded.relevant]
    counts = [np.bincount(graded.query[cell], minlength=len(graded.queries)) for cell in (*cells, _none_of(cells))]
    tp, fp, fn, tn = (weights @ count for count in counts)
    total = tp + fp + fn + tn
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / total**2
        kappa = ((tp + tn) / total - expected) / (1 - expected)
        return {PRECISION: tp / (tp + fp), RECALL: tp / (tp + fn), KAPPA: kappa, AUROC: _rank_areas(graded, weights)}


def _rank_areas(graded: Graded, weights: Floats) -> Floats:
    """The share of relevant-irrelevant pairs that the score orders correctly. Ties count half."""
    values, place = np.unique(graded.score, return_inverse=True)
    areas = []
    for weight in weights:
        own = weight[graded.query]
        good = np.bincount(place, own * graded.relevant, len(values))
        bad = np.bincount(place, own * ~graded.relevant, len(values))
        with np.errstate(invalid="ignore"):
            areas.append(np.dot(good, np.cumsum(bad) - bad / 2) / (good.sum() * bad.sum()))
    return np.array(areas)


def propose_thresholds(fit: Graded, report: Graded, wanted: Sequence[float], resamples: int, seed: int) -> list[Any]:
    """For each wanted precision, the lowest threshold that keeps it for sure, and what it reaches in `report`.

    "For sure" means that the lower bound of the precision in `fit` is at least the wanted one. The threshold
    is None if there is none. There are none at all with one-sided grades, which show no precision.
    """
    cuts = [] if fit.one_sided or report.one_sided else bound_precisions(fit)
    found = []
    for share in wanted:
        good = [cut for cut in cuts if cut.lower_bound >= share]
        entry: dict[str, Any] = {"wanted_precision": share, "positive_from": None}
        if good:
            entry |= good[-1]._asdict()
            told = measure_agreement(report._replace(label=report.score >= good[-1].positive_from), resamples, seed)
            entry |= {PRECISION: told[PRECISION], RECALL: told[RECALL]}
        found.append(entry)
    return found


class Cut(NamedTuple):
    """A threshold, the pairs that score at least as much, and a lower bound of the precision among them."""

    positive_from: float
    pairs: int
    lower_bound: float


def bound_precisions(graded: Graded) -> list[Cut]:
    """Some thresholds, the highest first. With a chance of 95 % all of their lower bounds hold.

    Each bound is the lower one of two: the exact binomial one (Clopper and Pearson, 1934), and one that
    lets whole queries vary (the linearised variance of a ratio over clusters). All together hold by Bonferroni's
    inequality.
    """
    from scipy.stats import beta, t

    order = np.argsort(-graded.score, kind="stable")
    score = graded.score[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True)) + 1 if len(score) else np.array([], np.int64)
    pairs = _choose_sizes(ends)
    risk = RISK / max(1, len(pairs))
    hits, queries, error = (values[pairs - 1] for values in _find_errors(graded.query[order], graded.relevant[order]))
    exact = np.where(hits > 0, beta.ppf(risk, np.maximum(hits, 1), pairs - hits + 1), 0.0)
    by_query = hits / pairs - t.ppf(1 - risk, np.maximum(queries - 1, 1)) * error
    lower = np.where(queries > 1, np.minimum(exact, by_query), 0.0)
    columns = (score[pairs - 1].tolist(), pairs.tolist(), lower.tolist())
    return [Cut(*cut) for cut in zip(*columns, strict=True)]


def _choose_sizes(ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of pairs at which a threshold can lie: from LEAST_PAIRS on, each STEP times the one before."""
    if not len(ends) or ends[-1] < LEAST_PAIRS:
        return np.array([], np.int64)
    steps = int(np.log(ends[-1] / LEAST_PAIRS) / np.log(STEP)) + 1
    wanted = np.append(LEAST_PAIRS * STEP ** np.arange(steps), ends[-1])
    return np.unique(ends[np.searchsorted(ends, np.minimum(np.ceil(wanted), ends[-1]))])


def _find_errors(query: npt.NDArray[np.int64], relevant: Flags) -> tuple[Floats, Floats, Floats]:
    """For the first 1, 2, 3 … pairs: relevant ones, queries, and the standard error of their ratio over queries."""
    place = np.argsort(query, kind="stable")
    hit = relevant[place].astype(np.float64)
    start = np.maximum.accumulate(np.where(np.diff(query[place], prepend=-1) != 0, np.arange(len(query)), 0))
    hits_before = np.cumsum(hit) - hit
    # Pairs and hits of the same query that come before each pair.
    n, h, r = (np.empty(len(query)) for _ in range(3))
    n[place], h[place], r[place] = np.arange(len(query)) - start, hits_before - hits_before[start], hit
    pairs, hits, queries = np.arange(1, len(query) + 1), np.cumsum(r), np.cumsum(n == 0)
    # Sums over queries of h², h·n and n², as each pair adds to them.
    hh, hn, nn = np.cumsum(r * (2 * h + 1)), np.cumsum(h + r * (n + 1)), np.cumsum(2 * n + 1)
    ratio = hits / pairs
    squares = np.maximum(hh - 2 * ratio * hn + ratio**2 * nn, 0.0) * queries / np.maximum(queries - 1, 1)
    return hits, queries.astype(np.float64), np.sqrt(squares) / pairs


class Calibration(NamedTuple):
    """Turns the judge's log-odds into a probability that the passage is relevant, or into calibrated log-odds.

    `log_odds` is None if probabilities can be 0 or 1.
    """

    probability: Callable[[Floats], Floats]
    log_odds: Callable[[Floats], Floats] | None


def fit_calibration(kind: str, fit: Graded, report: Graded) -> Calibration:
    """Platt's logistic curve, or isotonic steps. Raises SettingsError if a part lacks relevant or irrelevant pairs."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    for name, part in (("to fit on", fit), ("to report on", report)):
        if not _has_both(part.relevant):
            counts = f"{int(part.relevant.sum())} relevant of {len(part.relevant)} graded pairs"
            raise SettingsError(
                [f"trust.calibration={kind} needs relevant and irrelevant pairs {name}; found {counts}"]
            )
    if kind == "isotonic":
        steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(fit.log_odds, fit.relevant)
        return Calibration(lambda log_odds: np.asarray(steps.predict(log_odds), dtype=np.float64), None)
    curve = LogisticRegression(C=np.inf).fit(fit.log_odds[:, None], fit.relevant)
    slope, offset = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    return Calibration(lambda x: _sigmoid(slope * x + offset), lambda x: np.asarray(slope * x + offset))


def _sigmoid(values: Floats) -> Floats:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(values / 2)), dtype=np.float64)


def _none_of(cells: Sequence[Flags]) -> Flags:
    return np.asarray(~np.logical_or.reduce(cells), dtype=np.bool_)


def _has_both(values: Flags) -> bool:
    return bool(values.any() and not values.all())


def _interval(drawn: Floats, value: float | None) -> dict[str, float | None]:
    """The ends of the middle 95 % of the defined values; None if no value is defined."""
    defined = drawn[~np.isnan(drawn)] if value is not None else drawn[:0]
    low, high = np.percentile(defined, INTERVAL) if len(defined) else (None, None)
    return {"low": None if low is None else float(low), "high": None if high is None else float(high)}
