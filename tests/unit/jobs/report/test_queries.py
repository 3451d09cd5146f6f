"""Rows of a bucket become queries, in both orders."""

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.evaluate.orders import order_candidates
from rank1_batch.jobs.report.queries import ReportedQuery, build_queries, order_first_stage
from rank1_batch.jobs.report.source import PLAN_PLACE, REPORTED_COLUMNS
from rank1_batch.output.order import rank_rows

TYPES = {
    **dict.fromkeys(REPORTED_COLUMNS, pa.string()),
    **dict.fromkeys(("score", "true_logprob", "false_logprob", "first_stage_score"), pa.float64()),
    **dict.fromkeys(("prompt_tokens", "trace_tokens", "row", "candidate", "first_stage_rank", PLAN_PLACE), pa.int64()),
    **dict.fromkeys(("label", "passage_truncated"), pa.bool_()),
    **dict.fromkeys(("query", "title", "passage"), pa.string()),
}

LOOSE_COLUMNS = ("query_id", "doc_id", "score", "first_stage_rank", "first_stage_score")

Loose = tuple[str, str, float | None, int | None, float | None]
"""The values of LOOSE_COLUMNS."""


def make_table(rows: list[Loose]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in TYPES}
    for place, name in enumerate(LOOSE_COLUMNS):
        columns[name] = [row[place] for row in rows]
    for name in (PLAN_PLACE, "row", "prompt_tokens", "trace_tokens"):
        columns[name] = list(range(len(rows)))
    columns |= {"unit_id": ["u"] * len(rows), "passage_truncated": [False] * len(rows)}
    columns |= {"finish": ["complete" if row[2] is not None else "error" for row in rows]}
    return pa.table({name: pa.array(columns[name], kind) for name, kind in TYPES.items()})


def build(rows: list[Loose], grades: dict[str, dict[str, int]] | None = None) -> list[ReportedQuery]:
    return list(build_queries(make_table(rows), grades or {}))


loose_row = st.tuples(
    st.sampled_from(["q1", "q2", ""]), st.sampled_from("abcd"), st.none() | st.sampled_from([0.1, 0.9]),
    st.none() | st.integers(1, 5), st.none() | st.sampled_from([1.5, 2.5]),
)  # fmt: skip


@given(st.lists(loose_row, max_size=20))
def test_the_new_order_is_that_of_the_jobs_own_ranking(rows: list[Loose]) -> None:
    ranked = rank_rows(make_table(rows)).to_pylist()
    for query in build(rows):
        own = sorted((row for row in ranked if row["query_id"] == query.query_id), key=lambda row: row["rank"])
        assert query.order() == [row["doc_id"] for row in own]
        assert len(query.rows) == sum(row[0] == query.query_id for row in rows)


@given(st.lists(loose_row, max_size=20, unique_by=lambda row: row[:2]))
def test_the_first_stages_order_is_the_one_that_evaluate_measures(rows: list[Loose]) -> None:
    table = make_table(rows)
    expected = order_candidates(table, "first_stage_rank", "first_stage_score")
    for query_id in expected:
        found = order_first_stage([row for row in table.to_pylist() if row["query_id"] == query_id])
        known = any(row[3] is not None or row[4] is not None for row in rows if row[0] == query_id)
        assert found == (expected[query_id] if known else None)


def test_where_a_row_was_is_its_rank_then_or_its_place_by_score() -> None:
    (ranked,) = build([("q", "a", 0.1, 7, None), ("q", "b", 0.9, 3, None)])
    assert [(row.doc_id, row.rank, row.was, row.moved) for row in ranked.rows] == [("b", 1, 3, 2), ("a", 2, 7, 5)]
    (scored,) = build([("q", "a", 0.1, None, 5.0), ("q", "b", 0.9, None, 2.0)])
    assert [(row.doc_id, row.was) for row in scored.rows] == [("b", 2), ("a", 1)]
    (unknown,) = build([("q", "a", 0.1, None, None)])
    assert (unknown.first_stage, unknown.rows[0].was, unknown.rows[0].moved) == (None, None, None)


def test_queries_come_in_the_order_of_the_input_with_their_grades() -> None:
    found = build([("z", "a", 0.1, 1, None), ("a", "a", 0.2, 1, None), ("z", "b", 0.3, 2, None)], {"z": {"b": 2}})
    assert [query.query_id for query in found] == ["z", "a"]
    assert [row.grade for row in found[0].rows] == [2, None]


def test_a_document_that_is_there_twice_has_one_rank() -> None:
    (query,) = build([("q", "a", 0.9, 1, None), ("q", "b", 0.5, 2, None), ("q", "a", 0.2, 3, None)])
    assert [(row.doc_id, row.rank, row.score) for row in query.rows] == [("a", 1, 0.9), ("a", 1, 0.2), ("b", 2, 0.5)]
    assert query.order() == ["a", "b"]
