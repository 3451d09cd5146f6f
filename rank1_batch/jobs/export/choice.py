"""Chooses which judged pairs of a query become training data, as positives or as negatives.

Every row is chosen, or left out for exactly one reason, so the counts add up. Knows nothing about files.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

SHARE_BITS = 64


class LabelSource(StrEnum):
    """Who decides what is a positive: the `model`'s scores, or `given` labels (all other rows are then negatives)."""

    MODEL = "model"
    GIVEN = "given"


class Pick(StrEnum):
    """Which negatives are kept when a cap applies: random ones, or those that the first stage ranked best."""

    RANDOM = "random"
    HARD = "hard"


class ScoreScale(StrEnum):
    """The scale of scores in a format: from 0 to 1, or the difference of the two logprobs."""

    PROBABILITY = "probability"
    LOG_ODDS = "log_odds"


class Reason(StrEnum):
    """Why a row was left out, in the order of the checks."""

    ERROR = "could not be judged"
    FINISH = "reasoning ended in a way not in labels.finishes"
    NOT_GIVEN = "no label to compare the verdict with"
    DISAGREES = "the verdict differs from the given label"
    DUPLICATE = "the same text or doc_id as a better row"
    UNSURE = "score between negative_to and positive_from"
    POSITIVE_CAP = "more positives than max_positives"
    RANK = "negative outside negative_ranks"
    CALLED_TRUE = "negative that the model calls true"
    RATIO = "negative with a score above ratio"
    MARGIN = "negative closer to a positive than margin"
    NEGATIVE_CAP = "more negatives than the settings allow"
    NO_POSITIVE = "its query has no positive"
    NO_NEGATIVE = "its query has no negative"


class Candidate(NamedTuple):
    """A judged candidate of a query. `given` is a label from another source, or None.

    `passage` is used to find equal texts. `place` is the caller's own number for the row.
    """

    place: int
    doc_id: str
    score: float | None
    label: bool | None
    finish: str
    passage: str | None = None
    first_stage_rank: int | None = None
    given: bool | None = None


class Rules(NamedTuple):
    """How rows are chosen. None switches a rule off.

    `positive_from` and `negative_to` are scores, both included. They are not used with given labels.
    `negative_ranks` are first-stage ranks, both included. A negative is left out if it scores more than
    `ratio` times the query's best positive, or less than `margin` below its weakest positive.
    """

    source: LabelSource = LabelSource.MODEL
    finishes: frozenset[str] = frozenset({"complete"})
    agree: bool = False
    positive_from: float = 0.5
    negative_to: float = 0.5
    margin: float | None = None
    negative_ranks: tuple[int, int] | None = None
    drop_called_true: bool = True
    ratio: float | None = None
    max_positives: int | None = None
    max_negatives: int | None = None
    negatives_per_positive: int | None = None
    pick: Pick = Pick.RANDOM
    keep_without_positive: bool = False
    keep_without_negative: bool = False
    seed: int = 0


class Choice(NamedTuple):
    """The chosen rows of one query, best score first, and the number of rows left out for each reason."""

    positives: list[Candidate]
    negatives: list[Candidate]
    left_out: Counter[Reason]


def choose_rows(query_id: str, rows: Iterable[Candidate], rules: Rules, seen: set[str] | None = None) -> Choice:
    """The positives and negatives of one query.

    `seen` holds the passages already taken for queries with the same text. This query's passages are added to it.
    """
    left_out: Counter[Reason] = Counter()
    usable = _sort_out(rows, lambda row: _reason_against(row, rules), left_out)
    unique = _leave_duplicates(sorted(usable, key=_place), set() if seen is None else seen, left_out)
    positives, others = _split_classes(unique, rules, left_out)
    positives = _cut(positives, rules.max_positives, Reason.POSITIVE_CAP, left_out)
    negatives = _sort_out(others, lambda row: _reason_against_negative(row, positives, rules), left_out)
    negatives = _cap_negatives(query_id, negatives, len(positives), rules, left_out)
    return _check_query(Choice(positives, negatives, left_out), rules)


def draw_share(seed: int, purpose: str, text: str) -> float:
    """A number from 0 to 1 (excluded). It depends only on seed, purpose and text, so every machine gets the same."""
    key = f"{seed}\n{purpose}\n{text}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=SHARE_BITS // 8).digest(), "big") / 2.0**SHARE_BITS


def is_dev(query: str, dev_share: float, seed: int) -> bool:
    """Whether a query goes to dev instead of train; equal queries go the same way."""
    return draw_share(seed, "split", query) < dev_share


def _sort_out(
    rows: Iterable[Candidate], find_reason: Callable[[Candidate], Reason | None], left_out: Counter[Reason]
) -> list[Candidate]:
    """The rows without a reason to leave them out. The others are counted by reason."""
    kept = []
    for row in rows:
        reason = find_reason(row)
        if reason is None:
            kept.append(row)
        else:
            left_out[reason] += 1
    return kept


def _reason_against(row: Candidate, rules: Rules) -> Reason | None:
    """Why a row can be neither a positive nor a negative, whatever its score."""
    if row.score is None or row.label is None:
        return Reason.ERROR
    if row.finish not in rules.finishes:
        return Reason.FINISH
    if rules.agree and row.given is None:
        return Reason.NOT_GIVEN
    return Reason.DISAGREES if rules.agree and row.given != row.label else None


def _place(row: Candidate) -> tuple[float, float, str, int]:
    """Score descending, then first-stage rank, then doc_id, as in the job's own ranking."""
    rank = math.inf if row.first_stage_rank is None else row.first_stage_rank
    return -_score(row), rank, row.doc_id, row.place


def _score(row: Candidate) -> float:
    return 0.0 if row.score is None else row.score


def _leave_duplicates(rows: Sequence[Candidate], seen: set[str], left_out: Counter[Reason]) -> list[Candidate]:
    """The rows without repeats: of rows with the same doc_id or text, only the first is kept."""
    doc_ids: set[str] = set()

    def find_reason(row: Candidate) -> Reason | None:
        if row.doc_id in doc_ids or (row.passage is not None and row.passage in seen):
            return Reason.DUPLICATE
        doc_ids.add(row.doc_id)
        if row.passage is not None:
            seen.add(row.passage)
        return None

    return _sort_out(rows, find_reason, left_out)


def _split_classes(
    rows: Sequence[Candidate], rules: Rules, left_out: Counter[Reason]
) -> tuple[list[Candidate], list[Candidate]]:
    """Positives and negatives. If scores decide, a row between the two thresholds is neither."""
    if rules.source is LabelSource.GIVEN:
        return [row for row in rows if row.given], [row for row in rows if not row.given]
    positives = [row for row in rows if _score(row) >= rules.positive_from]
    others = rows[len(positives) :]
    return positives, _sort_out(
        others, lambda row: Reason.UNSURE if _score(row) > rules.negative_to else None, left_out
    )


def _reason_against_negative(row: Candidate, positives: Sequence[Candidate], rules: Rules) -> Reason | None:
    """Why a row must not be a negative, or None. `positives` are sorted; the last one is the weakest."""
    if rules.negative_ranks is not None:
        low, high = rules.negative_ranks
        if row.first_stage_rank is None or not low <= row.first_stage_rank <= high:
            return Reason.RANK
    if rules.drop_called_true and row.label:
        return Reason.CALLED_TRUE
    if not positives:
        return None
    if rules.ratio is not None and _score(row) > rules.ratio * _score(positives[0]):
        return Reason.RATIO
    within = rules.margin is not None and _score(positives[-1]) - _score(row) < rules.margin
    return Reason.MARGIN if within else None


def _cut(rows: list[Candidate], cap: int | None, reason: Reason, left_out: Counter[Reason]) -> list[Candidate]:
    """The first rows, up to the cap."""
    if cap is None or len(rows) <= cap:
        return rows
    left_out[reason] += len(rows) - cap
    return rows[:cap]


def _cap_negatives(
    query_id: str, rows: list[Candidate], positives: int, rules: Rules, left_out: Counter[Reason]
) -> list[Candidate]:
    """The negatives that the caps allow, sorted by score again."""
    balance = None if rules.negatives_per_positive is None else rules.negatives_per_positive * positives
    caps = [cap for cap in (rules.max_negatives, balance) if cap is not None]
    if rules.pick is Pick.HARD:
        picked = sorted(rows, key=lambda row: (_place(row)[1], _place(row)))
    else:
        picked = sorted(rows, key=lambda row: draw_share(rules.seed, "negatives", f"{query_id}\n{row.doc_id}"))
    return sorted(_cut(picked, min(caps, default=None), Reason.NEGATIVE_CAP, left_out), key=_place)


def _check_query(choice: Choice, rules: Rules) -> Choice:
    """The choice. It is empty if the query lacks positives or negatives and must have both."""
    rows = len(choice.positives) + len(choice.negatives)
    if not rows:
        return choice
    if not choice.positives and not rules.keep_without_positive:
        reason = Reason.NO_POSITIVE
    elif not choice.negatives and not rules.keep_without_negative:
        reason = Reason.NO_NEGATIVE
    else:
        return choice
    return Choice([], [], choice.left_out + Counter({reason: rows}))
