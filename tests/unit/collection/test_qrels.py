import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.collection.qrels import read_qrels
from rank1_batch.errors import BadFileError, SettingsError
from tests.support.paths import DATA

GRADES = {"q1": {"007": 2, "b#1": 0}, "q 2": {"007": -1}}
TREC = "q1 0 007 2\n# a comment\nq1\t0  b#1 0\n\n"
BEIR = "query-id\tcorpus-id\tscore\nq1\t007\t2\n#q\tb\t1\n"


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("name", ["qrels.txt", "qrels", "qrels.tsv", "qrels.txt.gz", "qrels.txt.zst"])
def test_trec_qrels_are_read_plain_and_compressed(name: str, tmp_path: Path) -> None:
    """Identifiers stay text, a `#` inside is part of one, and comments say nothing."""
    compress = {".gz": gzip.compress, ".zst": lambda data: pa.Codec("zstd").compress(data).to_pybytes()}
    content = compress.get(Path(name).suffix, bytes)(TREC.encode())
    assert read_qrels("qrels", write(tmp_path / name, content)) == {"q1": GRADES["q1"]}


@pytest.mark.parametrize("name", ["test.tsv", "test.txt", "test.tsv.gz"])
def test_beirs_form_is_known_by_its_header(name: str, tmp_path: Path) -> None:
    """There are no comments in it: `#q` is a query."""
    content = gzip.compress(BEIR.encode()) if name.endswith(".gz") else BEIR
    assert read_qrels("qrels", write(tmp_path / name, content)) == {"q1": {"007": 2}, "#q": {"b": 1}}


def test_three_columns_of_a_tsv_file_are_beirs_also_without_the_header(tmp_path: Path) -> None:
    assert read_qrels("qrels", write(tmp_path / "qrels.tsv", "q 2\t007\t-1\n")) == {"q 2": GRADES["q 2"]}


@pytest.mark.parametrize(
    "columns",
    [("query_id", "doc_id", "relevance"), ("qid", "docno", "grade"), ("query-id", "corpus-id", "score")],
)
@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float64()])
def test_parquet_is_read_by_the_names_of_its_columns(
    columns: tuple[str, ...], kind: pa.DataType, tmp_path: Path
) -> None:
    rows = [(query, doc_id, grade) for query, grades in GRADES.items() for doc_id, grade in grades.items()]
    values = [pa.array(column) for column in zip(*rows, strict=True)]
    table = pa.table([*values[:2], values[2].cast(kind)], columns)
    pq.write_table(table, tmp_path / "qrels.parquet")
    assert read_qrels("qrels", str(tmp_path / "qrels.parquet")) == GRADES


def test_whole_numbers_are_ids_as_well(tmp_path: Path) -> None:
    pq.write_table(pa.table({"qid": [1], "docid": [7], "rel": [1]}), tmp_path / "qrels.parquet")
    assert read_qrels("qrels", str(tmp_path / "qrels.parquet")) == {"1": {"7": 1}}


def test_several_files_are_one_set_of_grades(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, f"q{name} 0 a 1\nq 0 a 1\n") for name in "12")
    together = {"q1": {"a": 1}, "q2": {"a": 1}, "q": {"a": 1}}
    assert read_qrels("qrels", [first, second]) == together
    assert read_qrels("qrels", f"{tmp_path}/*") == together
    assert read_qrels("qrels", str(tmp_path)) == together


def test_comments_say_nothing_in_trec_evals_own_file_of_them() -> None:
    """It differs from the file without comments in one doc_id, that it spells with a `#`."""
    plain, commented = (
        read_qrels("qrels", str(DATA / "trec_eval" / name)) for name in ("qrels.test", "qrels.test.with-comments")
    )
    assert sum(map(len, plain.values())) == 3681
    plain["301"]["CR#93E-1860"] = plain["301"].pop("CR93E-1860")
    assert commented == plain


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("q 0 a 1\nq 0 b\n", "qrels.txt, line 2: 3 fields"),
        ("q 0 a 1\nq 0 b high\n", "qrels.txt, line 2: the relevance 'high' is not"),
        ("q 0 a 1\n\nq 0 a 0\n", "qrels.txt, line 3: q/a has the grade 0 here, but 1 before"),
        ("query-id\tcorpus-id\tscore\nq\ta\n", "qrels.txt, line 2: 2 fields split by tabs"),
        (b"q 0 a 1\nq 0 \xff 1\n", "qrels.txt, line 2: "),
    ],
)
def test_a_broken_line_is_told_with_file_and_line(content: str | bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError) as caught:
        read_qrels("qrels", write(tmp_path / "qrels.txt", content))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"qid": ["a"], "rel": [1]}, "no column for doc_id"),
        ({"qid": ["a"], "docid": ["b"], "rel": ["1"]}, "column 'rel' is string, but must be whole numbers"),
        ({"qid": ["a"], "docid": ["b"], "rel": [0.5]}, "column 'rel'"),
        ({"qid": ["a", None], "docid": ["b", "c"], "rel": [1, 1]}, "row 2: the query_id is null"),
        ({"qid": ["a", "a"], "docid": ["b", "b"], "rel": [1, 0]}, "a/b has the grade 0 here, but 1 before"),
    ],
)
def test_what_is_wrong_with_a_parquet_file_is_told(
    columns: dict[str, list[object]], problem: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "qrels.parquet")
    with pytest.raises(BadFileError) as caught:
        read_qrels("qrels", str(tmp_path / "qrels.parquet"))
    assert str(tmp_path / "qrels.parquet") in str(caught.value)
    assert problem in str(caught.value)


def test_what_is_not_there_or_empty_is_told_with_its_setting(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", "# nothing\n")
    (tmp_path / "folder").mkdir()
    for value, problem in [
        (empty, f"qrels: {empty} has no grades"),
        (f"{tmp_path}/none", f"qrels: {tmp_path}/none: there is no such file, folder or bucket"),
        (f"{tmp_path}/none*", f"qrels: {tmp_path}/none*: no file has this name, or the folder is empty"),
        (f"{tmp_path}/folder", f"qrels: {tmp_path}/folder: no file has this name, or the folder is empty"),
        ([], "qrels must be a path or a list of paths"),
    ]:
        with pytest.raises(SettingsError) as caught:
            read_qrels("qrels", value)
        assert caught.value.problems == [problem]
