import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.jobs.evaluate.orders import order_candidates, read_labels, read_ranking
from rank1_batch.output.fingerprint import claim_output
from rank1_batch.storage.store import open_store
from tests.support.judged import Row, write_judged

scores = st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 0.5, -2.0])
candidates = st.lists(st.tuples(st.text("abé", min_size=1, max_size=3), scores), min_size=1, max_size=12)
JUDGED: list[Row] = [
    ("q", "a", 0.25, 1),
    ("q", "b", None, 2),
    ("q", "c", 0.75, 3),
    ("q", "d", 0.75, 4),
    ("r", "a", 1.0, 1),
]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@given(candidates)
def test_ties_are_broken_as_trec_eval_does(found: list[tuple[str, float]]) -> None:
    """By doc_id from the last; 64-bit scores that differ at all are no tie."""
    doc_ids, scores = zip(*found, strict=True)
    rows = pa.table({"query_id": ["q"] * len(found), "doc_id": doc_ids, "score": scores})
    rows = rows.append_column("rank", pa.nulls(len(found), pa.int64()))
    ordered = sorted(((score, doc_id.encode()) for doc_id, score in found), reverse=True)
    expected = list(dict.fromkeys(doc_id.decode() for _, doc_id in ordered))
    assert order_candidates(rows, "rank", "score") == {"q": expected}


def test_scores_are_compared_as_doubles_as_trec_eval_does(tmp_path: Path) -> None:
    """trec_eval 10.0-rc3, built from @f425365, gives this run recip_rank 1.0 for b alone, and 0.5 for a alone."""
    path = write(tmp_path / "run", "q Q0 b 1 1.00000001 x\nq Q0 c 2 1.0 x\n")
    assert read_ranking("run", path).order == {"q": ["b", "c"]}


@pytest.mark.parametrize(
    "line", ["q Q0 a b 1 0.5 tag", "a q Q0 b 1 0.5 tag", "q Q0 doc 12 1 0.5 tag", "q Q0 a 1 0.5 a tag"]
)
def test_a_blank_in_an_id_is_told_and_no_rank_is_taken_for_a_score(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "run.txt", f"q Q0 c 3 0.5 tag\n{line}\n")
    with pytest.raises(BadFileError, match=r"run\.txt, line 2: 7 fields, but a TREC run has six"):
        read_ranking("run", path)


def test_a_trec_run_is_ordered_by_score_whatever_its_ranks_say(tmp_path: Path) -> None:
    path = write(tmp_path / "run", "q Q0 a 1 0.5 tag\nq Q0 b 2 1e3 tag\nq Q0 c 3 0.5 tag\n")
    assert read_ranking("run", path) == ({"q": ["b", "c", "a"]}, None, 0, None)


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("score.json", json.dumps({"q": {"a": 1, "b": 3}}), "auto"),
        ("run.tsv", "q\tb\t3\nq\ta\t1\n", "tsv_score"),
        ("run.tsv", "q\ta\t2\nq\tb\t1\n", "tsv_rank"),
        ("run.tsv", "q Q0 a 1 1 x\nq Q0 b 2 3 x\n", "trec"),
    ],
)
def test_the_other_forms_of_a_run(name: str, text: str, form: str, tmp_path: Path) -> None:
    assert read_ranking("run", write(tmp_path / name, text), form).order == {"q": ["b", "a"]}


@pytest.mark.parametrize(
    ("columns", "order"),
    [
        ({"rank": [2, 1, 3], "score": [9.0, 1.0, 1.0]}, ["b", "a", "c"]),
        ({"rank": [2, 1, None], "score": [9.0, 1.0, 10.0]}, ["b", "a", "c"]),
        ({"score": [9.0, 1.0, 1.0]}, ["a", "c", "b"]),
        ({"score": [9.0, 1.0, 1.0], "first_stage_rank": [3, 2, 1]}, ["a", "c", "b"]),
    ],
)
def test_a_parquet_run_is_ordered_by_its_rank_or_else_by_its_score(
    columns: dict[str, list[float]], order: list[str], tmp_path: Path
) -> None:
    pq.write_table(pa.table({"query_id": ["q"] * 3, "doc_id": ["a", "b", "c"], **columns}), tmp_path / "run.parquet")
    assert read_ranking("run", str(tmp_path / "run.parquet")).order == {"q": order}


def test_a_candidate_that_is_there_twice_keeps_its_better_place_and_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "run", "q Q0 a 1 1 x\nq Q0 b 1 2 x\nq Q0 a 1 3 x\n")
    assert read_ranking("run", path) == ({"q": ["a", "b"]}, None, 1, None)


def test_a_jobs_output_has_its_order_its_first_stage_and_its_labels(tmp_path: Path) -> None:
    """The row that failed is last, and has no label."""
    store = open_store(str(tmp_path))
    write_judged(store, JUDGED, unit_rows=2)
    ranking = read_ranking("output.path", str(tmp_path))
    assert ranking.order == {"q": ["c", "d", "a", "b"], "r": ["a"]}
    assert ranking.first_stage == {"q": ["a", "b", "c", "d"], "r": ["a"]}
    assert ranking.output is not None
    assert sorted(read_labels(ranking.output)) == sorted(
        (query_id, doc_id, None if score is None else score >= 0.5, score) for query_id, doc_id, score, _ in JUDGED
    )


def test_an_output_without_first_stage_has_none(tmp_path: Path) -> None:
    write_judged(open_store(str(tmp_path)), [("q", "a", 0.5, None)])
    assert read_ranking("run", str(tmp_path)).first_stage is None


def test_an_output_that_is_not_finished_is_told(tmp_path: Path) -> None:
    claim_output(open_store(str(tmp_path)), {})
    with pytest.raises(SettingsError, match="holds no plan of a job"):
        read_ranking("output.path", str(tmp_path))


def test_a_ranking_of_which_a_part_is_gone_is_not_measured(tmp_path: Path) -> None:
    write_judged(open_store(str(tmp_path)), JUDGED, unit_rows=2)
    next((tmp_path / "ranking").iterdir()).unlink()
    with pytest.raises(SettingsError, match=r"has no whole ranking/\. Run the same jobs\.rerank command"):
        read_ranking("output.path", str(tmp_path))


def test_a_broken_line_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "run.txt", "q Q0 a 1 0.5 tag\nq Q0 b 2 high tag\n")
    with pytest.raises(BadFileError, match=r"run\.txt, line 2: the score 'high'"):
        read_ranking("run", path)


def test_what_is_not_there_or_empty_or_unclear_is_told_with_its_setting(tmp_path: Path) -> None:
    empty, unclear = write(tmp_path / "empty", "\n"), write(tmp_path / "run.tsv", "q\ta\t1\n")
    for value, problem in [
        (empty, f"first_stage: {empty} has no candidates"),
        (f"{tmp_path}/none", f"first_stage: {tmp_path}/none: there is no such file, folder or bucket"),
        (unclear, "first_stage: run.tsv: its name does not say what its columns are"),
        ([], "first_stage must be a path or a list of paths"),
    ]:
        with pytest.raises(SettingsError) as caught:
            read_ranking("first_stage", value)
        assert caught.value.problems[0].startswith(problem)
