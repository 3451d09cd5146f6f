"""Turns a bucket of judged rows into queries with their chosen rows, ready to write. Knows nothing about files."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rank1_batch.columns import (
    CANDIDATE,
    DOC_ID,
    FALSE_LOGPROB,
    FINISH,
    FIRST_STAGE_RANK,
    LABEL,
    PASSAGE,
    QUERY,
    QUERY_ID,
    ROW,
    SCORE,
    TITLE,
    TRACE,
    TRUE_LOGPROB,
    UNIT_ID,
)
from rank1_batch.jobs.export.choice import Candidate, Choice, Reason, Rules, choose_rows
from rank1_batch.jobs.export.formats import Example, Query
from rank1_batch.jobs.export.trust import Calibration
from rank1_batch.judging.prompts import combine_title
from rank1_batch.measuring.reliability import Floats

MOST_LOG_ODDS = 100.0
"""Stands for infinite log-odds (a logprob of minus infinity). JSON has no infinite numbers; 100 is almost certain."""

ALL, POSITIVE, NEGATIVE = "all", "positive", "negative"

LinkedRow = dict[str, Any]

Given = Callable[[LinkedRow], bool | None]
"""Finds the label that another source gave to a row; None if there is none."""


class Chosen(NamedTuple):
    """A query after the choice. `scores` has the scores of all its rows, and of the chosen positives and negatives."""

    query: Query
    left_out: Counter[Reason]
    rows: int
    scores: dict[str, list[float]]


def choose_queries(table: pa.Table, rules: Rules, calibration: Calibration | None, given: Given) -> Iterator[Chosen]:
    """Every query of a bucket, sorted by text and query_id. Scores are calibrated ones, if there is a calibration.

    Queries with the same text share their passages, so no passage is taken twice for one text.
    """
    rows = _list_rows(table, calibration)
    rows.sort(key=lambda row: (row[QUERY], row[QUERY_ID]))
    for _, same_text in groupby(rows, key=lambda row: row[QUERY]):
        seen: set[str] = set()
        for query_id, own in groupby(same_text, key=lambda row: row[QUERY_ID]):
            found = list(own)
            choice = choose_rows(query_id, [_judged(place, row, given) for place, row in enumerate(found)], rules, seen)
            scores = {
                ALL: [row[SCORE] for row in found if row[SCORE] is not None],
                POSITIVE: [judged.score for judged in choice.positives if judged.score is not None],
                NEGATIVE: [judged.score for judged in choice.negatives if judged.score is not None],
            }
            yield Chosen(_build_query(found, choice), choice.left_out, len(found), scores)


def find_log_odds(table: pa.Table) -> Floats:
    """The judge's log-odds of true, NaN on error. Those of the score, if the judge had more than two answers."""
    gap, score = _numbers(table, TRUE_LOGPROB) - _numbers(table, FALSE_LOGPROB), _numbers(table, SCORE)
    with np.errstate(divide="ignore"):
        graded = np.log(score) - np.log1p(-score)
    return np.clip(np.where(np.isnan(gap), graded, gap), -MOST_LOG_ODDS, MOST_LOG_ODDS)


def score_rows(table: pa.Table, calibration: Calibration | None) -> tuple[Floats, Floats]:
    """Each row's score between 0 and 1, and its log-odds; NaN on error, or if a calibration has no log-odds."""
    log_odds = find_log_odds(table)
    if calibration is None:
        return _numbers(table, SCORE), log_odds
    known = ~np.isnan(log_odds)
    score, calibrated = np.full(len(table), np.nan), np.full(len(table), np.nan)
    score[known] = calibration.probability(log_odds[known])
    if calibration.log_odds is not None:
        calibrated[known] = calibration.log_odds(log_odds[known])
    return score, calibrated


def given_by_grades(grades: Mapping[tuple[str, str], int], min_relevance: int) -> Given:
    """Labels from people's grades."""

    def find(row: LinkedRow) -> bool | None:
        grade = grades.get((row[QUERY_ID], row[DOC_ID]))
        return None if grade is None else grade >= min_relevance

    return find


def given_by_column(name: str, min_relevance: int) -> Given:
    """Labels from a kept column. `read_given` must be able to read its values."""
    return lambda row: read_given(row[name], min_relevance)


def read_given(value: object, min_relevance: int) -> bool | None:
    """A label from a boolean, the text "true" or "false", or a grade. Raises ValueError for anything else."""
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    return text == "true" if text in ("true", "false") else float(text) >= min_relevance


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _list_rows(table: pa.Table, calibration: Calibration | None) -> list[LinkedRow]:
    """The rows as dicts. `score` and `log_odds` hold the final values (after calibration)."""
    score, log_odds = score_rows(table, calibration)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    columns[SCORE] = _none_for_nan(score)
    columns["log_odds"] = log_odds.tolist()
    for name in (QUERY_ID, DOC_ID):
        columns[name] = [value or "" for value in columns[name]]
    if PASSAGE in columns:  # a document with only a title has no text
        columns[PASSAGE] = [value or "" for value in columns[PASSAGE]]
    # Without texts, the query's id stands in for its text.
    columns.setdefault(QUERY, columns[QUERY_ID])
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _none_for_nan(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _judged(place: int, row: LinkedRow, given: Given) -> Candidate:
    passage = combine_title(row[TITLE], row[PASSAGE]) if PASSAGE in row else None
    return Candidate(
        place, row[DOC_ID], row[SCORE], row[LABEL], row[FINISH], passage, row[FIRST_STAGE_RANK], given(row)
    )


def _build_query(rows: list[LinkedRow], choice: Choice) -> Query:
    def build(taken: list[Candidate], *, positive: bool) -> list[Example]:
        return [_build_example(rows[judged.place], positive=positive) for judged in taken]

    positives, negatives = build(choice.positives, positive=True), build(choice.negatives, positive=False)
    return Query(rows[0][QUERY_ID], rows[0][QUERY], positives, negatives)


def _build_example(row: LinkedRow, *, positive: bool) -> Example:
    return Example(
        doc_id=row[DOC_ID],
        positive=positive,
        score=row[SCORE],
        label=row[LABEL],
        finish=row[FINISH],
        unit_id=row[UNIT_ID],
        row=row[ROW],
        candidate=row[CANDIDATE],
        passage=row.get(PASSAGE, ""),
        title=row.get(TITLE),
        trace=row.get(TRACE),
        log_odds=row["log_odds"],
    )
