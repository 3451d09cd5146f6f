from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.collection.lists import read_document_lists
from rank1_batch.errors import BadFileError, SettingsError

LISTS = {"q1": ["d1", "7"], "q2": ["d2"]}


def test_the_forms_of_bright_and_mteb_are_read(tmp_path: Path) -> None:
    """BRIGHT's examples have `id` and `excluded_ids`, mteb's `qrel_diff` has `query-id` and `corpus-ids`."""
    bright: dict[str, Any] = {"id": ["q1", "q2"], "query": ["one", "two"], "excluded_ids": [["d1", "7"], ["d2"]]}
    pq.write_table(pa.table(bright), tmp_path / "examples.parquet")
    lines = ['{"query-id": "q1", "corpus-ids": ["d1", 7]}', '{"query-id": "q2", "corpus-ids": ["d2"]}']
    (tmp_path / "diff.jsonl").write_text("\n".join(lines))
    (tmp_path / "pairs.tsv").write_text("q1\td1\nq1\t7\nq2\td2\nq2\td2\n")
    for name in ("examples.parquet", "diff.jsonl", "pairs.tsv"):
        assert read_document_lists("exclude", f"{tmp_path}/{name}") == LISTS
    paths = [f"{tmp_path}/pairs.tsv", f"{tmp_path}/diff.jsonl"]
    assert read_document_lists("exclude", paths) == LISTS


def test_one_document_in_each_row_and_no_document_at_all(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query_id": [1, 1, 2], "doc_id": ["a", "b", None]}), tmp_path / "a.parquet")
    assert read_document_lists("exclude", f"{tmp_path}/a.parquet") == {"1": ["a", "b"], "2": []}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.tsv", "q1\td1\nq1 d2\n", "a.tsv, line 2: 1 fields split by tabs"),
        ("a.jsonl", '{"query_id": "1"}', "a.jsonl, line 1: no field doc_ids or excluded_ids"),
        ("a.jsonl", '{"doc_ids": ["1"]}', "a.jsonl, line 1: no field query_id or"),
        ("a.jsonl", "[1]", "a.jsonl, line 1: Expected `object`"),
    ],
)
def test_a_broken_line_is_told_with_file_and_line(name: str, text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadFileError) as caught:
        read_document_lists("exclude", f"{tmp_path}/{name}")
    assert problem in str(caught.value)


def test_a_table_without_the_columns_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query_id": ["q"], "other": ["d"]}), tmp_path / "a.parquet")
    with pytest.raises(BadFileError, match=r"a\.parquet: no field doc_ids .*; it has query_id, other"):
        read_document_lists("exclude", f"{tmp_path}/a.parquet")
    (tmp_path / "a.txt").write_text("q d")
    with pytest.raises(SettingsError, match=r"exclude: a\.txt: the name must end in \.jsonl"):
        read_document_lists("exclude", f"{tmp_path}/a.txt")
