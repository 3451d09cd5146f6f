"""Ranking committed units: what is written, read back as anyone would."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import ir_measures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.columns import DOC_ID, QUERY_ID
from rank1_batch.errors import RefusedError
from rank1_batch.output.layout import JOB_PATH
from rank1_batch.output.ranking import RANKING_FOLDER, RUN_PATH, Ranked, rank_units, see_ranking
from rank1_batch.storage.store import Store, open_store, read_bytes, write_bytes
from tests.support.judged import Row, commit_rows
from tests.support.paths import DATA

SCIFACT = DATA / "scifact"

FINGERPRINT = {
    "model": {"name": "jhu-clsp/rank1-7b", "revision": "main"},
    "engine": {"kind": "vllm"},
    "policy": {"kind": "full"},
}

rows = st.lists(
    st.tuples(
        st.sampled_from(["q1", "q2", "q3", "q4", "q5", "é"]),
        st.text("ab", min_size=1, max_size=6),
        st.none() | st.sampled_from([0.0, 0.25, 1.0]),
        st.none() | st.integers(1, 9),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[:2],
)


def read_ranking(store: Store) -> pa.Table:
    return pq.read_table(Path(store.root) / RANKING_FOLDER)


def read_run(store: Store) -> str:
    return gzip.decompress((Path(store.root) / RUN_PATH).read_bytes()).decode()


def test_a_written_run_keeps_the_order_of_tied_candidates_for_every_reader(tmp_path: Path) -> None:
    """Real scores of which most are tied: nDCG@10 0.5938 in first-stage order, as published; 0.5286 by doc_id."""
    table = pq.read_table(SCIFACT / "direct_scores.parquet")
    qrels = [line.split("\t") for line in (SCIFACT / "qrels.tsv").read_text().splitlines()[1:]]
    grades = [ir_measures.Qrel(query_id, doc_id, int(grade)) for query_id, doc_id, grade in qrels]
    store = open_store(str(tmp_path))
    found = [(row["query_id"], row["doc_id"], row["score"], row["first_stage_rank"]) for row in table.to_pylist()]
    assert rank_units(store, commit_rows(store, found, 4000)) == Ranked(queries=300, rows=30_000, duplicates=0)

    def measure(run: Sequence[ir_measures.ScoredDoc]) -> float:
        return round(float(ir_measures.calc_aggregate([ir_measures.nDCG @ 10], grades, run)[ir_measures.nDCG @ 10]), 4)

    assert measure([ir_measures.ScoredDoc(query_id, doc_id, score) for query_id, doc_id, score, _ in found]) == 0.5286
    assert measure(list(ir_measures.read_trec_run(str(tmp_path / RUN_PATH)))) == 0.5938
    ranking = zip(*(read_ranking(store)[name].to_pylist() for name in (QUERY_ID, DOC_ID, "rank")), strict=True)
    assert measure([ir_measures.ScoredDoc(query_id, doc_id, -rank) for query_id, doc_id, rank in ranking]) == 0.5938


def test_rows_that_failed_stand_below_the_judged_ones_in_first_stage_order_without_a_score(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    found: list[Row] = [("q", "a", None, 2), ("q", "b", 0.0, 4), ("q", "c", None, 1), ("q", "d", 0.5, 3)]
    rank_units(store, commit_rows(store, found, 2))
    assert [tuple(row.values())[1:5] for row in read_ranking(store).to_pylist()] == [
        ("d", 1, 0.5, 3), ("b", 2, 0.0, 4), ("c", 3, None, 1), ("a", 4, None, 2),
    ]  # fmt: skip
    assert [line.split()[2:5] for line in read_run(store).splitlines()] == [
        ["d", "1", "0.5"], ["b", "2", "0"], ["c", "3", "-1"], ["a", "4", "-2"],
    ]  # fmt: skip


@given(rows, st.integers(1, 20), st.integers(1, 30))
def test_the_ranking_does_not_depend_on_units_or_buckets(
    tmp_path_factory: pytest.TempPathFactory, found: list[Row], unit_rows: int, bucket_rows: int
) -> None:
    one, many = (open_store(str(tmp_path_factory.mktemp("judged"))) for _ in range(2))
    ranked = rank_units(one, commit_rows(one, found, len(found)))
    assert rank_units(many, commit_rows(many, found, unit_rows), bucket_rows) == ranked
    assert ranked == Ranked(len({row[0] for row in found}), len(found), 0)
    order = [("query_id", "ascending"), ("rank", "ascending")]
    assert read_ranking(many).sort_by(order).to_pylist() == read_ranking(one).sort_by(order).to_pylist()
    assert sorted(read_run(many).splitlines()) == sorted(read_run(one).splitlines())


def test_the_same_judgments_give_the_same_bytes(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    units = commit_rows(store, [(f"q{n % 7}", f"d{n}", n / 40, n) for n in range(40)], 9)
    contents = []
    for _ in range(2):
        rank_units(store, units, 10)
        contents.append({path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]
    assert len(list((tmp_path / RANKING_FOLDER).iterdir())) == 4


def test_a_smaller_ranking_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    units = commit_rows(store, [(f"q{n % 7}", f"d{n}", n / 40, n) for n in range(40)], 9)
    rank_units(store, units, 10)
    rank_units(store, units, 1000)
    assert len(list((tmp_path / RANKING_FOLDER).iterdir())) == 1
    assert read_ranking(store).num_rows == 40


def test_rows_without_ids_are_ranked_as_well(tmp_path: Path) -> None:
    """Such a row is an error row; it is not lost, and it is under the empty id."""
    store = open_store(str(tmp_path))
    found: list[Row] = [(None, "a", None, 1), ("q", None, None, 2), ("q", "b", 1.0, 3)]
    ranked = rank_units(store, commit_rows(store, found, 2))
    assert ranked == Ranked(queries=2, rows=3, duplicates=0, not_in_run=2, examples=("''/'a'", "'q'/''"))


@pytest.mark.parametrize(
    ("query_id", "doc_id"),
    [
        (None, "d"), ("q", None), ("", "d"), ("q", ""), ("a b", "d"), ("q", "a b"), ("q", "a\tb"), ("q", "a\nb"),
        ("q", "a\rb"), ("q", "a\u00a0b"), ("q", "a\u2028b"), ("q", "a\x00b"), ("#q", "d"), ("\ufeffq", "d"),
    ],
)  # fmt: skip
def test_a_run_leaves_out_ids_that_no_line_can_hold_and_the_ranking_keeps_them(
    query_id: str | None, doc_id: str | None, tmp_path: Path
) -> None:
    """Fields by the readers of others: trec_eval 10.0-rc3 (@f425365) splits at blanks, ir_measures at Unicode's."""
    store = open_store(str(tmp_path))
    found: list[Row] = [("q", "#good", 0.75, 1), (query_id, doc_id, 0.5, 2)]
    ranked = rank_units(store, commit_rows(store, found, 2))
    assert (ranked.rows, ranked.not_in_run) == (2, 1)
    assert ranked.examples == (f"{query_id or ''!r}/{doc_id or ''!r}",)
    assert read_ranking(store).num_rows == 2
    assert read_run(store) == "q Q0 #good 1 0.75 rank1_batch\n"
    [read] = ir_measures.read_trec_run(str(tmp_path / RUN_PATH))
    assert (read.query_id, read.doc_id, read.score) == ("q", "#good", 0.75)


def test_ids_of_every_character_are_in_the_run_unless_a_reader_would_split_there(tmp_path: Path) -> None:
    letters = [chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000]
    store = open_store(str(tmp_path))
    rank_units(store, commit_rows(store, [("q", f"a{letter}b", 0.5, 1) for letter in letters], 80_000), 80_000)
    kept = {line.split(" ")[2] for line in read_run(store).removesuffix("\n").split("\n")}
    assert kept == {f"a{letter}b" for letter in letters if letter != "\x00" and not letter.isspace()}


def test_the_tag_of_a_run_says_who_judged(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    write_bytes(store, JOB_PATH, json.dumps(FINGERPRINT).encode())
    rank_units(store, commit_rows(store, [("q", "a", 0.5, 1)], 1))
    assert read_run(store) == "q Q0 a 1 0.5 rank1-7b@main,vllm,full\n"


def test_doubles_are_counted_and_ranked_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    found: list[Row] = [("q", "a", 0.5, 1), ("q", "b", 0.7, 2), ("q", "a", 0.9, 3)]
    assert rank_units(store, commit_rows(store, found, 1)) == Ranked(queries=1, rows=2, duplicates=1)
    assert read_ranking(store)[DOC_ID].to_pylist() == ["a", "b"]


def test_a_paused_run_does_not_replace_the_ranking_of_a_later_one(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    units = commit_rows(store, [("q", "a", 0.1, 1), ("q", "b", 0.2, 2)], 2)
    seen = see_ranking(store)
    rank_units(store, units)
    rank_units(store, units, seen=seen)  # the same bytes do no harm
    write_bytes(store, RUN_PATH, b"of a later run")
    with pytest.raises(RefusedError, match="another run wrote"):
        rank_units(store, units, seen=seen)
    assert read_bytes(store, RUN_PATH) == b"of a later run"
