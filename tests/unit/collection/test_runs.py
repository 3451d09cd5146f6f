import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.collection.lines import BrokenLines
from rank1_batch.collection.runs import RUN_SCHEMA, read_run
from rank1_batch.collection.sources import RunFormat, find_sources
from rank1_batch.errors import BadFileError
from tests.support.paths import DATA

GOLDEN = DATA / "trec_eval"
LINES = [("007", "d#1", 1, 2.5), ("007", "d 2", 2, -1.0), ("8", "d#1", 1, 0.25)]


def read(path: Path, form: RunFormat = RunFormat.AUTO, mapping: dict[str, str] | None = None) -> list[dict[str, Any]]:
    broken = BrokenLines()
    table = pa.Table.from_batches(read_run(find_sources("run", str(path)), form, mapping or {}, broken), RUN_SCHEMA)
    broken.check()
    return list(table.to_pylist())


def as_lines(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["query_id"], row["doc_id"], row["rank"], row["score"]) for row in rows]


def test_every_form_of_a_run_is_read(tmp_path: Path) -> None:
    """What a form does not have is null."""
    (tmp_path / "a.trec").write_text("".join(f"{q} Q0 {d.replace(' ', '_')} {r} {s} t\n" for q, d, r, s in LINES))
    (tmp_path / "score.tsv").write_text("".join(f"{q}\t{d}\t{s}\n" for q, d, _, s in LINES))
    (tmp_path / "rank.tsv").write_text("".join(f"{q}\t{d}\t{r}\n" for q, d, r, _ in LINES))
    (tmp_path / "score.json").write_text(json.dumps({"007": {"d#1": 2.5, "d 2": -1}, "8": {"d#1": 0.25}}))
    columns = dict(zip(("qid", "docno", "rank", "score"), map(list, zip(*LINES, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "run.parquet")
    assert as_lines(read(tmp_path / "a.trec")) == [(q, d.replace(" ", "_"), r, s) for q, d, r, s in LINES]
    assert as_lines(read(tmp_path / "score.tsv", RunFormat.TSV_SCORE)) == [(q, d, None, s) for q, d, _, s in LINES]
    assert as_lines(read(tmp_path / "rank.tsv", RunFormat.TSV_RANK)) == [(q, d, r, None) for q, d, r, _ in LINES]
    assert as_lines(read(tmp_path / "score.json")) == [(q, d, None, s) for q, d, _, s in LINES]
    assert as_lines(read(tmp_path / "run.parquet")) == LINES


def test_comments_and_junk_are_read_as_trec_eval_does(tmp_path: Path) -> None:
    rows = read(GOLDEN / "results.trunc")
    lines = [line.split() for line in (GOLDEN / "results.trunc").read_text().splitlines()]
    assert as_lines(rows) == [(line[0], line[2], int(line[3]), float(line[4])) for line in lines]
    (tmp_path / "a.trec").write_text("# run\n\n1 Q0 d 1 2 t junk\n # more\n")
    assert as_lines(read(tmp_path / "a.trec")) == [("1", "d", 1, 2.0)]


def test_a_byte_order_mark_begins_no_json(tmp_path: Path) -> None:
    (tmp_path / "score.JSON").write_bytes(b'\xef\xbb\xbf{"1": {"d": 2}}')
    assert as_lines(read(tmp_path / "score.JSON")) == [("1", "d", None, 2.0)]


def test_a_lone_surrogate_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "score.json").write_text('{"1": {"\\ud800": 2}}')
    with pytest.raises(BadFileError, match=r"\\ud800 is half of a character \(a lone surrogate\)"):
        read(tmp_path / "score.json")


def test_a_hash_begins_no_comment_in_a_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("#1\td\t2\n")
    assert as_lines(read(tmp_path / "a.tsv", RunFormat.TSV_SCORE)) == [("#1", "d", None, 2.0)]


def test_candidates_are_counted_over_all_files(tmp_path: Path) -> None:
    for name in ("b.trec", "a.trec"):
        (tmp_path / name).write_text(f"{name} Q0 d 1 2 t\n{name} Q0 e 2 1 t\n")
    rows = read(tmp_path)
    assert [(row["query_id"], row["number"]) for row in rows] == [
        ("a.trec", 0), ("a.trec", 1), ("b.trec", 2), ("b.trec", 3),
    ]  # fmt: skip


def test_a_run_with_broken_lines_is_told_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.trec").write_text("1 Q0 d 1 2 t\n1 d 2\n1 Q0 e 2 high t\n")
    with pytest.raises(BadFileError, match=r"a\.trec, line 2: 3 fields.*\n.*a\.trec, line 3: the score 'high'"):
        read(tmp_path / "a.trec")


@pytest.mark.parametrize("text", ["", "[]", '{"1": 2}', '{"1": {"d": "high"}}', '{"1": {"d": 1}'])
def test_a_json_run_of_another_form_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "score.json").write_text(text)
    with pytest.raises(BadFileError, match=r"score\.json: not a run of the form \{query_id: \{doc_id: score\}\}"):
        read(tmp_path / "score.json")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"query_id": ["1"], "doc_id": ["d"]}, "no column for score or rank"),
        ({"query_id": ["1"], "score": [1.0]}, "no column for doc_id"),
        ({"query_id": ["1"], "doc_id": ["d"], "score": ["1"]}, "column 'score' is string, but must be numbers"),
        ({"query_id": ["1"], "doc_id": ["d"], "rank": [1.5]}, "column 'rank': .*truncated"),
        ({"query_id": ["1"], "doc_id": ["d"], "score": [math.nan]}, "row 1: the score is not a number"),
        ({"query_id": [None], "doc_id": ["d"], "score": [1.0]}, "row 1: the query_id is null or empty"),
    ],
)
def test_a_parquet_run_that_does_not_serve_is_told(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "run.parquet")
    with pytest.raises(BadFileError, match=reason):
        read(tmp_path / "run.parquet")


def test_the_users_names_of_columns_are_used(tmp_path: Path) -> None:
    pq.write_table(pa.table({"q": [7], "d": ["x"], "bm25": [2]}), tmp_path / "run.parquet")
    mapping = {"query_id": "q", "doc_id": "d", "score": "bm25"}
    assert as_lines(read(tmp_path / "run.parquet", mapping=mapping)) == [("7", "x", None, 2.0)]
