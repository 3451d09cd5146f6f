"""Rows that a predicate selects, and how their new judgments take the place of the old."""

import pyarrow as pa
import pytest

from rank1_batch.errors import SettingsError
from rank1_batch.output.generations import list_columns, select_rows

JUDGED = pa.table(
    {
        "finish": ["closed", "complete", "closed", "error"],
        "score": [0.4, 0.9, 0.6, None],
        "trace": ["a", "b", "c", None],
        "query_id": ["q", "q", "it's", "q"],
    }
)


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
            list_columns(where, JUDGED.schema)
    else:
        assert select_rows(JUDGED, where) == places


@pytest.mark.parametrize(
    ("where", "columns"),
    [("finish = 'closed'", ["finish"]), ("trace like '%?' and score < 1", ["score", "trace"]), ("true", [])],
)
def test_only_the_columns_that_a_condition_speaks_of_are_read(where: str, columns: list[str]) -> None:
    assert list_columns(where, JUDGED.schema) == columns


@pytest.mark.parametrize("where", ["finsh = 'closed'", "finish =", "1; drop table x", ""])
def test_what_is_no_condition_is_told_with_the_columns_there_are(where: str) -> None:
    with pytest.raises(SettingsError, match="no condition on finish, score, trace, query_id"):
        list_columns(where, JUDGED.schema)


def test_a_condition_cannot_read_files() -> None:
    with pytest.raises(SettingsError, match="no condition"):
        list_columns("score > (select count(*) from read_csv('/etc/passwd'))", JUDGED.schema)
