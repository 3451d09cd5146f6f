"""What a judged output must be for labels to be made of it."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import BadFileError, RefusedError, SettingsError
from rank1_batch.jobs.export.rows import (
    check_job,
    describe_judging,
    open_judgments,
    open_texts,
    read_grades,
    read_judged,
)
from rank1_batch.jobs.export.settings import ExportConfig, check_export
from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.output.counts import Counts
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.summary import Summary, write_summary
from rank1_batch.storage.store import open_store
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs

POLICY = {"policy": {"kind": "full"}, "prompt": {"template": RANK1_TEMPLATE}, "keep": ["human"]}


def load(*overrides: str) -> ExportConfig:
    paths = ("output.path=judged", "input.path=pairs", "labels.path=labels", "qrels=grades")
    return load_settings([*paths, *overrides], "export", ExportConfig, check_export)


def problems_of(fingerprint: dict[str, Any], *overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check_job(load(*overrides), fingerprint)
    return caught.value.problems


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    (tmp_path / "pairs").mkdir()
    for shard in range(2):
        pq.write_table(tiny_pairs(60, seed=shard), tmp_path / "pairs" / f"{shard}.parquet")
    judge_here(f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged", "input.unit_rows=25")
    return tmp_path


def test_made_up_answers_are_refused_unless_they_are_asked_for(judged: Path) -> None:
    fingerprint = open_judgments(f"{judged}/judged").fingerprint
    assert problems_of(fingerprint, "format=qrels")[0].startswith("output.path: this is a dry run (engine=scripted)")
    check_job(load("format=qrels", "labels.allow_scripted=true"), fingerprint)


def test_the_end_of_the_judging_and_its_versions_are_known(judged: Path) -> None:
    store = open_store(f"{judged}/judged")
    os.utime(judged / "judged" / SUCCESS_PATH, (1_700_000_000, 1_700_000_000))  # 2023-11-14 22:13:20 UTC
    write_summary(store, Summary(Counts(rows=120), versions={"vllm": "0.32.0"}))
    told = describe_judging(open_judgments(store.url))
    assert told == {"judged_on": "2023-11-14", "judged_by_versions": {"vllm": "0.32.0"}}


def test_texts_stand_beside_their_judgments(judged: Path) -> None:
    config = load("format=st_pairs", f"output.path={judged}/judged", f"input.path={judged}/pairs")
    judgments = open_judgments(config.output.path)
    found = pa.concat_tables(read_judged(judgments, open_texts(config, judgments), ["trace"])).to_pylist()
    pairs = {row["doc_id"]: row for path in (judged / "pairs").glob("*") for row in pq.read_table(path).to_pylist()}
    assert len(found) == 120
    for row in found:
        pair = pairs[row["doc_id"]]
        assert (row["query_id"], row["query"], row["passage"]) == (pair["query_id"], pair["query"], pair["passage"])
        assert row["trace"]


def test_titles_instructions_and_lists_of_candidates_are_joined(tmp_path: Path) -> None:
    candidates = [
        {"doc_id": f"d{n}", "text": f"passage {n}", "title": f"title {n}" if n % 2 else None} for n in range(5)
    ]
    rows = [
        {"query_id": 7, "query": "lamps", "instruction": "Only red ones.", "candidates": candidates[:2]},
        {"query_id": 8, "query": "birds", "instruction": "birds", "candidates": candidates[2:]},
    ]
    (tmp_path / "pairs").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs" / "0.parquet")
    judge_here(f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged")
    config = load("format=st_pairs", f"output.path={tmp_path}/judged", f"input.path={tmp_path}/pairs")
    judgments = open_judgments(config.output.path)
    found = pa.concat_tables(read_judged(judgments, open_texts(config, judgments), [])).to_pylist()
    names = ("query_id", "query", "title", "passage", "row", "candidate")
    assert [tuple(row[name] for name in names) for row in found] == [
        ("7", "lamps Only red ones.", None, "passage 0", 0, 0),
        ("7", "lamps Only red ones.", "title 1", "passage 1", 0, 1),
        ("8", "birds", None, "passage 2", 1, 0),
        ("8", "birds", "title 3", "passage 3", 1, 1),
        ("8", "birds", None, "passage 4", 1, 2),
    ]


def test_pairs_are_found_where_the_job_read_them(judged: Path) -> None:
    config = load("format=st_pairs", f"output.path={judged}/judged", "input.path=null")
    judgments = open_judgments(config.output.path)
    assert open_texts(config, judgments) is not None
    with pytest.raises(SettingsError, match=r"input\.path must be given"):
        open_texts(config, judgments._replace(input_path=None))
    inside = load("format=st_pairs", "input.path=null", f"labels.path={judged}/pairs/labels")
    with pytest.raises(SettingsError, match=r"labels\.path lies inside the input"):
        open_texts(inside, judgments)


def test_no_text_is_read_for_formats_without_texts(judged: Path) -> None:
    config = load("format=[qrels,scores]", f"output.path={judged}/judged", "input.path=null")
    judgments = open_judgments(config.output.path)
    assert open_texts(config, judgments) is None
    assert "passage" not in next(read_judged(judgments, None, [])).column_names


def test_an_output_that_is_none_or_not_finished_is_refused(judged: Path) -> None:
    with pytest.raises(SettingsError, match=r"is not an output of jobs\.rerank"):
        open_judgments(str(judged / "pairs"))
    (judged / "judged" / "_SUCCESS").unlink()
    with pytest.raises(SettingsError, match="has not finished"):
        open_judgments(str(judged / "judged"))


def test_units_that_were_never_judged_are_told_apart(judged: Path) -> None:
    """Their input could not be read, and the job says so."""
    gone = next((judged / "judged" / "judgments").iterdir())
    rows = 120 - pq.read_metadata(gone).num_rows
    gone.unlink()
    store = open_store(str(judged / "judged"))
    write_summary(store, Summary(Counts(rows=rows), bad_files=["0.parquet: cannot be read"]))
    judgments = open_judgments(str(judged / "judged"))
    assert [unit.unit_id for unit in judgments.missing] == [gone.stem]
    assert len(judgments.units) > 1


def test_input_that_changed_is_refused(judged: Path) -> None:
    config = load("format=st_pairs", f"output.path={judged}/judged", f"input.path={judged}/pairs")
    judgments = open_judgments(config.output.path)
    pq.write_table(tiny_pairs(60, seed=5), judged / "pairs" / "1.parquet")
    with pytest.raises(RefusedError, match=r"1\.parquet changed"):
        open_texts(config, judgments)


def test_input_that_changes_while_it_is_read_is_refused(judged: Path) -> None:
    config = load("format=st_pairs", f"output.path={judged}/judged", f"input.path={judged}/pairs")
    judgments = open_judgments(config.output.path)
    texts = open_texts(config, judgments)
    pq.write_table(tiny_pairs(60, seed=5), judged / "pairs" / "1.parquet")
    with pytest.raises(BadFileError, match=r"1\.parquet: changed"):
        list(read_judged(judgments, texts, []))


def test_reasoning_is_not_asked_of_rows_judged_without() -> None:
    no_think = {**POLICY, "policy": {"kind": "no_think"}}
    finishes, form = problems_of(no_think, "format=rank1")
    assert finishes.startswith("labels.finishes: all rows were judged with policy=no_think")
    assert form.startswith("format=rank1 needs reasoning")


def test_a_prompt_that_cannot_be_cut_is_refused_for_rank1() -> None:
    (problem,) = problems_of({**POLICY, "prompt": {"template": "{query} {passage}"}}, "format=rank1")
    assert problem.startswith("format=rank1: the judge's prompt")


def test_a_given_column_must_have_been_kept() -> None:
    (problem,) = problems_of(POLICY, "format=qrels", "labels.agree_with=person")
    assert problem.endswith("the column person was not kept; choose from qrels, human")
    check_job(load("format=qrels", "labels.agree_with=human"), POLICY)
    check_job(load("format=qrels", "labels.source=qrels"), POLICY)


def test_grades_of_several_files_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "trec.txt").write_text("# people\nq1 0 d1 2\n")
    (tmp_path / "beir.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t0\n")
    config = load("format=qrels", f"qrels=[{tmp_path}/trec.txt,{tmp_path}/beir.tsv]")
    assert read_grades(config) == {("q1", "d1"): 2, ("q1", "d2"): 0}
    assert read_grades(load("format=qrels", "qrels=null")) == {}


def test_a_bad_line_of_grades_is_named(tmp_path: Path) -> None:
    (tmp_path / "grades").write_text("q1 0 d1 2\nq1 0 d2 high\n")
    with pytest.raises(BadFileError, match=r"grades.*2.*high"):
        read_grades(load("format=qrels", f"qrels={tmp_path}/grades"))
