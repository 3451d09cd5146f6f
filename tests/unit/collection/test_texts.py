import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.collection.lines import BrokenLines
from rank1_batch.collection.records import PASSAGES, QUERIES
from rank1_batch.collection.sources import find_sources
from rank1_batch.collection.tables import TABLE_BATCH_ROWS
from rank1_batch.collection.texts import TEXT_SCHEMA, read_texts
from rank1_batch.errors import BadFileError

ROWS = [("007", "Some text.", "Title"), ("#2", "naïve\u2028text", None), ("3", None, None), ("4", None, "T")]
"""Texts of the files below: of the third and fourth only blanks are written."""


def write(folder: Path, form: str) -> Path:
    path = folder / f"corpus.{form}"
    raw = [(key, text or " \u3000", title or "") for key, text, title in ROWS]
    if form == "jsonl":
        path.write_text("".join(f"{json.dumps({'_id': k, 'title': t, 'text': x})}\n" for k, x, t in raw))
    elif form == "tsv":
        path.write_text("id\ttext\ttitle\n" + "".join(f"{k}\t{x}\t{t}\n" for k, x, t in raw))
    else:
        columns = list(zip(*raw, strict=True))
        pq.write_table(pa.table(dict(zip(("docid", "contents", "title"), columns, strict=True))), path)
    return path


def read(path: Path | list[str], mapping: dict[str, str] | None = None) -> list[dict[str, Any]]:
    broken = BrokenLines()
    sources = find_sources("corpus", path if isinstance(path, list) else str(path))
    table = pa.Table.from_batches(read_texts(sources, PASSAGES, mapping or {}, broken), TEXT_SCHEMA)
    broken.check()
    return list(table.to_pylist())


@pytest.mark.parametrize("form", ["jsonl", "tsv", "parquet"])
def test_all_forms_give_the_same_records(tmp_path: Path, form: str) -> None:
    """Identifiers stay as they are written; a text or title of blanks alone is none."""
    found = read(write(tmp_path, form))
    assert [(row["key"], row["text"], row["extra"]) for row in found] == ROWS
    assert [row["number"] for row in found] == [0, 1, 2, 3]


def test_a_null_passage_of_a_table_may_stand_beside_a_good_text(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(
        pa.table({"doc_id": ["1", "2"], "passage": [None, "p"], "text": ["t", "t"], "contents": [1, 2]}), path
    )
    assert [row["text"] for row in read(path)] == ["t", "p"]


def test_a_json_array_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text(json.dumps([{"_id": "1", "text": "t"}], indent=1))
    with pytest.raises(BadFileError) as caught:
        read(tmp_path / "corpus.json")
    assert str(caught.value).count("\n") == 0
    assert "there must be one JSON object in each line" in str(caught.value)


def test_records_are_counted_over_all_files(tmp_path: Path) -> None:
    paths = [str(write(tmp_path, form)) for form in ("parquet", "tsv")]
    assert [row["number"] for row in read(paths)] == list(range(8))


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([7, 8], pa.uint16()),
        pa.array(["7", "8"], pa.large_string()),
        pa.array(["7", "8"]).dictionary_encode(),
        pa.array([b"7", b"8"], pa.binary()),
        pa.array(["7", "8"], pa.string_view()),
    ],
    ids=lambda array: str(array.type),
)
def test_identifiers_of_any_text_or_whole_number_type_become_text(tmp_path: Path, ids: pa.Array) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"doc_id": ids, "passage": ["a", "b"]}), path)
    assert [row["key"] for row in read(path)] == ["7", "8"]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"doc_id": [1.5], "text": ["a"]}, "column 'doc_id' is double, but must be text"),
        ({"doc_id": ["1"], "text": [["a"]]}, "column 'text' is list"),
        ({"doc_id": ["1"], "body": ["a"]}, r"no column for passage \(passage or text or contents\)"),
        ({"doc_id": ["1", None, ""], "text": ["a", "b", "c"]}, r"row 2: the doc_id is null(.|\n)*row 3"),
        ({"doc_id": ["1"], "text": pa.array([b"\xff"]).view(pa.string())}, "column 'text': .*UTF8"),
    ],
)  # fmt: skip
def test_parquet_that_does_not_serve_is_told_with_its_file(tmp_path: Path, columns: Any, reason: str) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(BadFileError, match=f"(?s)corpus.parquet.*{reason}"):
        read(path)


def test_the_users_names_of_columns_are_used(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"number": [1], "text": ["no"], "body": ["yes"]}), path)
    [row] = read(path, {"doc_id": "number", "passage": "body"})
    assert (row["key"], row["text"]) == ("1", "yes")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "corpus.parquet").write_bytes(b"no such thing")
    with pytest.raises(BadFileError, match=r"corpus\.parquet"):
        read(tmp_path / "corpus.parquet")


def test_broken_lines_of_several_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"_id": "1", "text": "t"}\nbroken\n')
    (tmp_path / "b.tsv").write_text("1\ttext\n\n2 text\n")
    with pytest.raises(BadFileError, match=r"a\.jsonl, line 2: .*\n.*b\.tsv, line 3: 1 fields"):
        read(tmp_path)


def test_batches_are_of_bounded_size(tmp_path: Path) -> None:
    lines = [f'{{"id": {number}, "text": "t"}}\n' for number in range(TABLE_BATCH_ROWS + 1)]
    (tmp_path / "many.jsonl").write_text("".join(lines))
    (tmp_path / "long.jsonl").write_text("".join(f'{{"id": {n}, "text": "{"long " * 1_000_000}"}}\n' for n in range(3)))
    for name, sizes in (("many", [TABLE_BATCH_ROWS, 1]), ("long", [2, 1])):
        sources = find_sources("corpus", str(tmp_path / f"{name}.jsonl"))
        assert [len(batch) for batch in read_texts(sources, PASSAGES, {}, BrokenLines())] == sizes


def test_a_query_may_bring_an_instruction(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": 1, "text": "q", "instruction": "i"}\n{"_id": 2, "text": "r"}\n')
    sources = find_sources("queries", str(tmp_path))
    [batch] = read_texts(sources, QUERIES, {}, BrokenLines())
    assert batch.column("extra").to_pylist() == ["i", None]
