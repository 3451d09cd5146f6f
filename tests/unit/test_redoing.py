"""Rows that a predicate selects, and how their new judgments take the place of the old."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.errors import SettingsError
from rank1_batch.judging import Begun, Finish, Judgment, Pair, failed_judgment
from rank1_batch.redoing import begin_again, find_columns, put_back, select_rows

JUDGED = pa.table(
    {
        "finish": ["closed", "complete", "closed", "error"],
        "score": [0.4, 0.9, 0.6, None],
        "trace": ["a", "b", "c", None],
        "query_id": ["q", "q", "it's", "q"],
    }
)


def judgment(finish: Finish, trace: str | None = "so far", score: float = 0.5) -> Judgment:
    return Judgment(score, -1.0, -1.0, False, finish, trace, 10, 2, passage_truncated=False, error=None)


@pytest.mark.parametrize(
    ("where", "places"),
    [
        ("finish = 'closed'", [0, 2]),
        ("finish = 'closed' and score < 0.5", [0]),
        ("error_free", None),
        ("score is null", [3]),
        ("true", [0, 1, 2, 3]),
        ("query_id = 'it''s'", [2]),
        ("score > 2", []),
    ],
)
def test_a_condition_selects_rows_by_their_place(where: str, places: list[int] | None) -> None:
    if places is None:
        with pytest.raises(SettingsError):
            find_columns(where, JUDGED.schema)
    else:
        assert select_rows(JUDGED, where) == places


@pytest.mark.parametrize(
    ("where", "columns"),
    [("finish = 'closed'", ["finish"]), ("trace like '%?' and score < 1", ["score", "trace"]), ("true", [])],
)
def test_only_the_columns_that_a_condition_speaks_of_are_read(where: str, columns: list[str]) -> None:
    assert find_columns(where, JUDGED.schema) == columns


@pytest.mark.parametrize("where", ["finsh = 'closed'", "finish =", "1; drop table x", ""])
def test_what_is_no_condition_is_told_with_the_columns_there_are(where: str) -> None:
    with pytest.raises(SettingsError, match="no condition on finish, score, trace, query_id"):
        find_columns(where, JUDGED.schema)


def test_a_condition_cannot_read_files() -> None:
    with pytest.raises(SettingsError, match="no condition"):
        find_columns("score > (select count(*) from read_csv('/etc/passwd'))", JUDGED.schema)


def test_closed_reasoning_is_gone_on_with_and_all_other_begins_anew() -> None:
    pair = Pair("q", "p")
    before = [judgment(Finish.CLOSED), judgment(Finish.COMPLETE), judgment(Finish.NO_THINK, None), failed_judgment("x")]
    rows = begin_again([pair] * 4, before)
    assert rows == [pair._replace(begun=Begun("so far", 10, 2)), pair, pair, pair]


def test_a_row_that_is_a_sentence_stays_one() -> None:
    assert begin_again(["the doc_id is null"], [failed_judgment("the doc_id is null")]) == ["the doc_id is null"]


@given(st.lists(st.booleans(), min_size=1), st.data())
def test_only_the_chosen_places_change(chosen: list[bool], data: st.DataObject) -> None:
    before = [judgment(Finish.CLOSED, f"old {i}") for i in range(len(chosen))]
    places = [i for i, taken in enumerate(chosen) if taken]
    merged = put_back(before, places, [judgment(Finish.COMPLETE, f"new {i}") for i in places])
    assert [row.trace for row in merged] == [f"{'new' if taken else 'old'} {i}" for i, taken in enumerate(chosen)]


def test_a_judgment_does_not_give_way_to_an_error_but_an_error_does() -> None:
    before = [judgment(Finish.CLOSED), failed_judgment("first")]
    merged = put_back(before, [0, 1], [failed_judgment("again")] * 2)
    assert merged == [before[0], failed_judgment("again")]
