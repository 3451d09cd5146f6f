"""Turns a bucket of judged rows into queries with their candidates, in the new order. Knows nothing about files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.columns import (
    CANDIDATE,
    DOC_ID,
    ERROR,
    FALSE_LOGPROB,
    FINISH,
    FIRST_STAGE_RANK,
    FIRST_STAGE_SCORE,
    LABEL,
    PASSAGE,
    PASSAGE_TRUNCATED,
    PROMPT_TOKENS,
    QUERY,
    QUERY_ID,
    RANK,
    ROW,
    SCORE,
    TITLE,
    TRACE,
    TRACE_TOKENS,
    TRUE_LOGPROB,
    UNIT_ID,
)
from rank1_batch.jobs.report.source import PLAN_PLACE
from rank1_batch.measuring.measures import Qrels
from rank1_batch.output.order import rank_rows


class ReportedRow(NamedTuple):
    """A judged pair as the report shows it. `rank` is the new one and `was` the first stage's, both from 1.

    `was` is None if the first stage is not known. A doc_id that a query has twice has one rank.
    """

    place: int
    doc_id: str
    rank: int
    was: int | None
    score: float | None
    true_logprob: float | None
    false_logprob: float | None
    label: bool | None
    finish: str
    grade: int | None
    prompt_tokens: int
    trace_tokens: int
    passage_truncated: bool
    title: str | None
    passage: str | None
    trace: str | None
    error: str | None
    unit_id: str
    row: int
    candidate: int | None

    @property
    def moved(self) -> int | None:
        """Places up (above 0) or down (below 0)."""
        return None if self.was is None else self.was - self.rank

    @property
    def log_odds(self) -> float | None:
        """The judge's log-odds of true."""
        if self.true_logprob is None or self.false_logprob is None:
            return None
        return self.true_logprob - self.false_logprob


class ReportedQuery(NamedTuple):
    """A query and its candidates, by new rank. `text` is None if texts could not be read.

    `first_stage` has the doc_ids in the first stage's order, None if that is not known. `place` is that of
    the query's first row.
    """

    query_id: str
    text: str | None
    place: int
    rows: list[ReportedRow]
    first_stage: list[str] | None

    def order(self) -> list[str]:
        """The doc_ids in the new order, each once."""
        return list(dict.fromkeys(row.doc_id for row in self.rows))


LooseRow = dict[str, Any]


def build_queries(table: pa.Table, grades: Qrels) -> Iterator[ReportedQuery]:
    """Every query of a bucket, in the order of the input."""
    ranked = rank_rows(table)
    ranks = dict(zip(_pairs(ranked), ranked[RANK].to_pylist(), strict=True))
    rows = table.to_pylist()
    for row in rows:
        row[QUERY_ID], row[DOC_ID] = row[QUERY_ID] or "", row[DOC_ID] or ""
        row[RANK] = ranks[row[QUERY_ID], row[DOC_ID]]
    rows.sort(key=lambda row: row[QUERY_ID])
    found = (_build_query(list(own), grades.get(query_id, {})) for query_id, own in groupby(rows, key=_query_id))
    yield from sorted(found, key=lambda query: query.place)


def order_first_stage(rows: Sequence[LooseRow]) -> list[str] | None:
    """The doc_ids in the first stage's order: by rank, then by score. Ties are broken as trec_eval does."""
    if all(row[FIRST_STAGE_RANK] is None and row[FIRST_STAGE_SCORE] is None for row in rows):
        return None
    by_id = sorted(rows, key=lambda row: str(row[DOC_ID]), reverse=True)
    return list(dict.fromkeys(row[DOC_ID] for row in sorted(by_id, key=_first_stage_key)))


def _pairs(ranked: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(ranked[QUERY_ID].to_pylist(), ranked[DOC_ID].to_pylist(), strict=True)


def _query_id(row: LooseRow) -> str:
    return str(row[QUERY_ID])


def _first_stage_key(row: LooseRow) -> tuple[float, float]:
    rank, score = row[FIRST_STAGE_RANK], row[FIRST_STAGE_SCORE]
    return (math.inf if rank is None else rank), (math.inf if score is None else -score)


def _build_query(rows: list[LooseRow], grades: Mapping[str, int]) -> ReportedQuery:
    rows.sort(key=lambda row: (row[RANK], row[PLAN_PLACE]))
    first_stage = order_first_stage(rows)
    places = {doc_id: place for place, doc_id in enumerate(first_stage or (), 1)}
    built = [_build_row(row, places.get(row[DOC_ID]), grades.get(row[DOC_ID])) for row in rows]
    return ReportedQuery(rows[0][QUERY_ID], rows[0][QUERY], min(row.place for row in built), built, first_stage)


def _build_row(row: LooseRow, place: int | None, grade: int | None) -> ReportedRow:
    was = place if row[FIRST_STAGE_RANK] is None else row[FIRST_STAGE_RANK]
    same = (
        PLAN_PLACE, DOC_ID, RANK, SCORE, TRUE_LOGPROB, FALSE_LOGPROB, LABEL, FINISH, PROMPT_TOKENS, TRACE_TOKENS,
        PASSAGE_TRUNCATED, TITLE, PASSAGE, TRACE, ERROR, UNIT_ID, ROW, CANDIDATE,
    )  # fmt: skip
    return ReportedRow(was=was, grade=grade, **{name: row[name] for name in same})
