from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.columns import OPTIONAL, REQUIRED
from rank1_batch.judging.records import BadRow, Pair, failed_judgment
from rank1_batch.output.judgments import build_judgments
from rank1_batch.pairs.layout import Layout, find_layout, flatten, read_pairs, to_text
from rank1_batch.storage.parquet import is_text

FLAT = pa.schema([(name, pa.string()) for name in REQUIRED])

CANDIDATE = pa.struct([("doc_id", pa.string()), ("text", pa.string()), ("first_stage_score", pa.float32())])

NESTED = pa.schema([("query_id", pa.int64()), ("query", pa.string()), ("candidates", pa.list_(CANDIDATE))])

TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int32(), pa.string()),
]


def layout_of(schema: pa.Schema, mapping: dict[str, str] | None = None, keep: tuple[str, ...] = ()) -> Layout:
    layout, problems = find_layout(schema, mapping or {}, keep)
    assert problems == []
    return layout


def problems_of(schema: pa.Schema, mapping: dict[str, str] | None = None, keep: tuple[str, ...] = ()) -> list[str]:
    return find_layout(schema, mapping or {}, keep)[1]


def test_columns_go_by_their_own_names() -> None:
    everything = pa.schema([*FLAT, ("title", pa.string()), ("first_stage_rank", pa.int32()), ("other", pa.bool_())])
    layout = layout_of(everything)
    assert layout.columns == {name: name for name in (*REQUIRED, "title", "first_stage_rank")}
    assert layout.candidates is None


def test_text_is_taken_for_the_passage_where_there_is_no_passage() -> None:
    with_text = pa.schema(
        [("query_id", pa.string()), ("query", pa.string()), ("doc_id", pa.string()), ("text", pa.string())]
    )
    assert layout_of(with_text).columns["passage"] == "text"
    assert layout_of(pa.schema([*FLAT, ("text", pa.string())])).columns["passage"] == "passage"


def test_a_mapped_name_wins_over_the_own_name() -> None:
    schema = pa.schema([*FLAT, ("body", pa.string()), ("lang", pa.string())])
    layout = layout_of(schema, {"passage": "body"}, ("lang",))
    assert layout.columns["passage"] == "body"
    assert sorted(layout.file_columns()) == ["body", "doc_id", "lang", "query", "query_id"]


def test_every_problem_is_told_with_the_columns_that_are_there() -> None:
    schema = pa.schema([("qid", pa.string()), ("query", pa.float64()), ("doc_id", pa.string())])
    problems = problems_of(schema, {"title": "heading"}, ("grade",))
    assert len(problems) == 5
    assert any("'query_id'" in text and "qid, query, doc_id" in text for text in problems)
    assert any("'passage'" in text for text in problems)
    assert any("'query' is double" in text and "must be text" in text for text in problems)
    assert any("'heading' (for title)" in text for text in problems)
    assert any("'grade'" in text for text in problems)


@pytest.mark.parametrize(
    ("name", "kind", "good"),
    [
        ("query_id", pa.int64(), True),
        ("doc_id", pa.uint32(), True),
        ("doc_id", pa.float64(), False),
        ("query", pa.int64(), False),
        ("passage", pa.list_(pa.string()), False),
        ("first_stage_rank", pa.int16(), True),
        ("first_stage_rank", pa.float32(), False),
        ("first_stage_score", pa.float32(), True),
        ("first_stage_score", pa.string(), False),
        ("title", pa.null(), True),
    ],
)
def test_a_column_of_the_wrong_type_is_a_problem_before_anything_is_judged(
    name: str, kind: pa.DataType, good: bool
) -> None:
    fields = dict.fromkeys([*REQUIRED, *OPTIONAL], pa.string())
    fields |= {"first_stage_rank": pa.int64(), "first_stage_score": pa.float64(), name: kind}
    problems = problems_of(pa.schema(list(fields.items())))
    assert (problems == []) is good
    assert all(name in text and str(kind) in text for text in problems)


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_any_column_of_text_can_be_read(kind: pa.DataType) -> None:
    inner = pa.string() if pa.types.is_dictionary(kind) else kind
    assert is_text(kind)
    column = pa.array(["Zürich", None, ""], inner).cast(kind)
    ids = pa.array(["1", "2", "3"], inner).cast(kind)
    table = pa.table({"query_id": ids, "query": column, "doc_id": ids, "passage": column, "title": column})
    assert read_pairs(flatten(table, layout_of(table.schema), 0)) == [
        Pair(text, text, text) for text in ("Zürich", None, "")
    ]


@pytest.mark.parametrize("kind", [pa.int32(), pa.float64(), pa.bool_(), pa.list_(pa.string())], ids=str)
def test_other_columns_are_no_text(kind: pa.DataType) -> None:
    assert not is_text(kind)


def test_text_that_is_not_utf8_fails_its_own_row_and_says_where() -> None:
    table = pa.table(
        {
            "query_id": pa.array([b"1", b"2", b"\xff3"]),
            "query": ["q", "q", "q"],
            "doc_id": ["a", "b", "c"],
            "passage": pa.array([b"good", b"bad \xff", b"good"]),
        }
    )
    flat = flatten(table, layout_of(table.schema), 0)
    assert read_pairs(flat) == [
        Pair("q", "good"),
        BadRow("the passage is not valid UTF-8"),
        BadRow("the query_id is not valid UTF-8"),
    ]
    built = build_judgments(flat, [failed_judgment("e")] * 3, "u", ())
    assert built["query_id"].to_pylist() == ["1", "2", "\\xff3"]


@pytest.mark.parametrize(
    ("values", "text"),
    [([True, None], ["True", None]), ([1, 0], ["1", "0"]), ([0.5], ["0.5"]), ([b"\xff"], ["\\xff"]), (["a"], ["a"])],
)
def test_any_column_becomes_text(values: list[object], text: list[str | None]) -> None:
    assert to_text(pa.chunked_array([values])).to_pylist() == text


def test_a_row_without_an_id_fails_and_says_so() -> None:
    table = pa.table({"query_id": [None, "2"], "query": ["q"] * 2, "doc_id": ["a", None], "passage": ["p"] * 2})
    flat = flatten(table, layout_of(table.schema), 0)
    assert read_pairs(flat) == [BadRow("the query_id is null"), BadRow("the doc_id is null")]


rows = st.lists(
    st.fixed_dictionaries(
        {
            "query_id": st.integers(0, 5),
            "query": st.none() | st.text(max_size=5),
            "candidates": st.none()
            | st.lists(
                st.fixed_dictionaries(
                    {
                        "doc_id": st.none() | st.text(max_size=3),
                        "text": st.none() | st.text(max_size=5),
                        "first_stage_score": st.none() | st.floats(width=32, allow_nan=False),
                    }
                ),
                max_size=4,
            ),
        }
    ),
    max_size=12,
)


@given(rows, st.integers(0, 1000), st.data())
def test_lists_become_a_row_for_each_candidate_in_order(
    rows: list[dict[str, Any]], first_row: int, data: st.DataObject
) -> None:
    """Also for a slice of a larger table, whose lists start inside their column."""
    skip = data.draw(st.integers(0, len(rows)))
    kept = pa.array([f"k{i}" for i in range(len(rows))])
    table = pa.Table.from_pylist(rows, NESTED).append_column("kept", kept)
    flat = flatten(table.slice(skip), layout_of(table.schema, keep=("kept",)), first_row)
    expected = [
        {
            "query_id": row["query_id"],
            "query": row["query"],
            "doc_id": item["doc_id"],
            "passage": item["text"],
            "first_stage_score": item["first_stage_score"],
            "kept": f"k{number}",
            "row": first_row + number - skip,
            "candidate": place,
        }
        for number, row in enumerate(rows)
        if number >= skip
        for place, item in enumerate(row["candidates"] or [])
    ]
    assert flat.to_pylist() == expected
    assert len(read_pairs(flat)) == len(expected)


def test_a_null_candidate_is_a_row_that_fails() -> None:
    table = pa.Table.from_pylist([{"query_id": 1, "query": "q", "candidates": [None]}], NESTED)
    assert read_pairs(flatten(table, layout_of(NESTED), 0)) == [BadRow("the doc_id is null")]


@pytest.mark.parametrize("large", [False, True])
def test_candidates_may_have_a_name_of_their_own(large: bool) -> None:
    kind = pa.large_list(CANDIDATE) if large else pa.list_(CANDIDATE)
    schema = pa.schema([("query_id", pa.int64()), ("query", pa.string()), ("bm25", kind)])
    layout = layout_of(schema, {"candidates": "bm25", "passage": "text"})
    assert layout.candidates == "bm25"
    assert layout.file_columns() == ["query_id", "query", "bm25"]


def test_a_missing_column_of_the_candidates_is_told_with_their_columns() -> None:
    bad = pa.schema(
        [("query_id", pa.int64()), ("query", pa.string()), ("candidates", pa.list_(pa.struct([("id", pa.string())])))]
    )
    assert all("its candidates have id" in text for text in problems_of(bad))
    assert len(problems_of(bad)) == 2


def test_a_mapped_list_of_candidates_that_is_not_there_is_a_problem() -> None:
    """Else a typo would have the file's own doc_id and passage judged instead."""
    assert any("bm52" in text for text in problems_of(FLAT, {"candidates": "bm52"}))


def test_a_kept_column_never_takes_the_place_of_a_mapped_one() -> None:
    table = pa.table({**{name: ["x"] for name in REQUIRED}, "body": ["the text to judge"]})
    layout, problems = find_layout(table.schema, {"passage": "body"}, ("passage",))
    assert problems or read_pairs(flatten(table, layout, 0)) == [Pair("x", "the text to judge")]


def test_a_kept_column_of_the_query_never_takes_the_place_of_a_candidates() -> None:
    items = pa.array([[{"doc_id": "d", "text": "t", "title": "of the candidate"}]])
    table = pa.table({"query_id": ["1"], "query": ["q"], "title": ["of the query"], "candidates": items})
    layout, problems = find_layout(table.schema, {}, ("title",))
    assert problems or read_pairs(flatten(table, layout, 0)) == [Pair("q", "t", "of the candidate")]


def test_pairs_number_their_rows_from_the_first_of_the_run() -> None:
    table = pa.table({name: ["a", "b"] for name in REQUIRED})
    flat = flatten(table, layout_of(table.schema), 700)
    assert flat["row"].to_pylist() == [700, 701]
    assert flat["candidate"].to_pylist() == [None, None]
