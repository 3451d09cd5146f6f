import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.cli.compose import load_settings
from rank1_batch.collection.sources import FileSource
from rank1_batch.columns import FIRST_STAGE_KEY
from rank1_batch.errors import BadFileError, RefusedError, SettingsError
from rank1_batch.jobs.prepare.command import main
from rank1_batch.jobs.prepare.job import PREPARE, PROBLEMS_PATH, Sources, check_identified
from rank1_batch.jobs.prepare.settings import PrepareConfig, check_config
from rank1_batch.storage.store import UNKNOWN, FileInfo, open_store
from tests.support.paths import ROOT
from tests.unit.collection.test_ir_datasets import register_dataset

SCIFACT = ROOT / "examples" / "scifact"
GOOD, BAD_INPUT, REFUSED = 0, BadFileError.exit_code, RefusedError.exit_code

Prepare = Callable[..., int]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two queries with two candidates each; a change of one file makes a case."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "run.trec").write_text("1 Q0 a 1 2.0 t\n1 Q0 b 2 1.0 t\n2 Q0 b 1 9.0 t\n2 Q0 c 2 8.0 t\n")
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "one"}\n{"_id": "2", "text": "two"}\n')
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "{i}", "title": "", "text": "{i * 3}"}}\n' for i in "abcd"))
    return folder


@pytest.fixture
def prepare(source: Path, tmp_path: Path) -> Prepare:
    """Runs the command line on the source, into `pairs`."""

    def run(*settings: str) -> int:
        paths = [f"run={source}/run.trec", f"queries={source}", f"corpus={source}", f"output.path={tmp_path}/pairs"]
        return main([*paths, *settings])

    return run


def read_pairs(folder: Path) -> list[dict[str, Any]]:
    return list(pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet"))).to_pylist())


def written(folder: Path) -> dict[str, str]:
    """Every file with the hash of its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_candidate_of_scifact_gets_its_texts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """660 candidates of 33 queries, 20 each, checked against the files themselves."""
    paths = [f"run={SCIFACT}/bm25.trec", f"queries={SCIFACT}", f"corpus={SCIFACT}", f"output.path={tmp_path}/pairs"]
    assert main([*paths, "output.shard_rows=150"]) == GOOD
    pairs = read_pairs(tmp_path / "pairs")
    corpus = {row["_id"]: row for row in map(json.loads, (SCIFACT / "corpus.jsonl").read_text().splitlines())}
    queries = {row["_id"]: row["text"] for row in map(json.loads, (SCIFACT / "queries.jsonl").read_text().splitlines())}
    run = [line.split() for line in (SCIFACT / "bm25.trec").read_text().splitlines()]
    expected = sorted((query, int(rank), doc, float(score)) for query, _, doc, rank, score, _ in run)
    assert [
        (pair["query_id"], pair["first_stage_rank"], pair["doc_id"], pair["first_stage_score"]) for pair in pairs
    ] == expected
    for pair in pairs:
        document = corpus[pair["doc_id"]]
        assert (pair["query"], pair["title"], pair["passage"]) == (
            queries[pair["query_id"]], document["title"], document["text"],
        )  # fmt: skip
    assert len(list((tmp_path / "pairs").glob("*.parquet"))) == 5
    assert "660 in 5 shards, 0 left out" in capfd.readouterr().out


def test_which_first_stage_it_was_stands_in_every_shard(source: Path, prepare: Prepare, tmp_path: Path) -> None:
    assert prepare("depth=1", "output.shard_rows=1") == GOOD
    digest = hashlib.sha256((source / "run.trec").read_bytes()).hexdigest()
    shards = sorted((tmp_path / "pairs").glob("*.parquet"))
    assert len(shards) == 2
    for shard in shards:
        told = json.loads(pq.read_metadata(shard).metadata[FIRST_STAGE_KEY])
        assert told == {"run": [{"name": "run.trec", "sha256": digest}], "depth": 1}


def test_the_same_sources_elsewhere_give_the_same_bytes(source: Path, prepare: Prepare, tmp_path: Path) -> None:
    assert prepare() == GOOD
    there = shutil.copytree(source, tmp_path / "elsewhere")
    assert main([f"run={there}/run.trec", f"queries={there}", f"corpus={there}", f"output.path={tmp_path}/b"]) == GOOD
    assert written(tmp_path / "pairs") == written(tmp_path / "b")


def test_what_is_prepared_is_not_prepared_again(
    prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare() == GOOD
    before = written(tmp_path / "pairs")
    capfd.readouterr()
    assert prepare() == GOOD
    assert capfd.readouterr().out.startswith("nothing to do")
    assert written(tmp_path / "pairs") == before


def test_a_preparation_that_was_killed_is_done_by_the_same_command(prepare: Prepare, tmp_path: Path) -> None:
    """Killed between two shards; the shard that was put is not touched."""
    assert prepare("output.shard_rows=1") == GOOD
    whole, folder = written(tmp_path / "pairs"), tmp_path / "pairs"
    for name in ("_SUCCESS", "summary.json", PROBLEMS_PATH, "pairs-00001.parquet"):
        (folder / name).unlink()
    first = (folder / "pairs-00000.parquet").stat()
    assert prepare("output.shard_rows=1") == GOOD
    assert written(folder) == whole
    assert (folder / "pairs-00000.parquet").stat().st_mtime_ns == first.st_mtime_ns


@pytest.mark.parametrize("setting", ["depth=1", "on_problem=keep", "output.shard_rows=3", "run_format=trec"])
def test_another_preparation_is_refused_and_the_setting_named(
    prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str], setting: str
) -> None:
    assert prepare() == GOOD
    before = written(tmp_path / "pairs")
    assert prepare(setting) == REFUSED
    assert setting.split("=", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1] in capfd.readouterr().err
    assert written(tmp_path / "pairs") == before


def test_a_source_that_changed_is_refused(source: Path, prepare: Prepare, capfd: pytest.CaptureFixture[str]) -> None:
    assert prepare() == GOOD
    (source / "run.trec").write_text("1 Q0 a 1 2.0 t\n")
    assert prepare() == REFUSED
    assert "sha256" in capfd.readouterr().err


def test_sources_that_may_have_changed_unseen_are_not_resumed_silently() -> None:
    store = open_store("memory://sources")
    known, unknown = (FileSource(store, FileInfo("corpus.jsonl", 5, identity)) for identity in ("etag", f"5{UNKNOWN}"))
    check_identified(Sources([unknown], [known], [known], [], []))
    with pytest.raises(RefusedError, match=r"corpus\.jsonl: its store tells only its size"):
        check_identified(Sources([known], [known], [unknown], [], []))


def test_files_of_no_preparation_are_left_alone(
    prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "thesis.tex").write_text("years of work")
    assert prepare() == REFUSED
    assert "thesis.tex" in capfd.readouterr().err
    assert list(written(tmp_path / "pairs")) == ["thesis.tex"]


def break_texts(source: Path) -> None:
    """No passage c, an empty passage b: of four candidates one is whole."""
    (source / "corpus.jsonl").write_text('{"_id": "a", "text": "A"}\n{"_id": "b", "text": " "}\n')


def test_pairs_without_text_are_left_out_and_listed(
    source: Path, prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    break_texts(source)
    assert prepare() == GOOD
    assert [(pair["query_id"], pair["doc_id"]) for pair in read_pairs(tmp_path / "pairs")] == [("1", "a")]
    assert pq.read_table(tmp_path / "pairs" / PROBLEMS_PATH).to_pylist() == [
        {"kind": "empty_passage", "query_id": "1", "doc_id": "b", "count": 1},
        {"kind": "empty_passage", "query_id": "2", "doc_id": "b", "count": 1},
        {"kind": "missing_passage", "query_id": "2", "doc_id": "c", "count": 1},
    ]
    summary = json.loads((tmp_path / "pairs" / "summary.json").read_text())
    assert (summary["pairs"], summary["left_out"]) == (1, 3)
    assert summary["problems"] == {"empty_passage": 2, "missing_passage": 1}
    assert "problems: 2 empty_passage, 1 missing_passage" in capfd.readouterr().out


def test_pairs_without_text_can_be_kept_for_the_judge_to_mark(source: Path, prepare: Prepare, tmp_path: Path) -> None:
    break_texts(source)
    assert prepare("on_problem=keep") == GOOD
    pairs = [(pair["query_id"], pair["doc_id"], pair["passage"]) for pair in read_pairs(tmp_path / "pairs")]
    assert pairs == [("1", "a", "A"), ("1", "b", None), ("2", "b", None), ("2", "c", None)]


def test_problems_can_be_an_error_and_then_nothing_is_written(
    source: Path, prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    break_texts(source)
    assert prepare("on_problem=fail") == SettingsError.exit_code
    told = capfd.readouterr().err
    assert "2 empty_passage, 1 missing_passage" in told
    assert "missing_passage 2/c" in told
    assert not (tmp_path / "pairs").exists()


@pytest.mark.parametrize("setting", ["on_problem=leave_out", "on_problem=keep"])
def test_a_run_of_another_corpus_is_an_error_whatever_problems_are(
    source: Path, prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str], setting: str
) -> None:
    (source / "corpus.jsonl").write_text('{"_id": "MED-10", "text": "t"}\n')
    assert prepare(setting) == SettingsError.exit_code
    assert "check that queries and corpus belong to this run" in capfd.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_broken_lines_of_run_and_queries_are_told_together(
    source: Path, prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (source / "run.trec").write_text("1 Q0 a 1 2.0 t\n1 Q0 b\n")
    (source / "queries.jsonl").write_text('{"_id": "1"}\n')
    assert prepare() == BAD_INPUT
    told = capfd.readouterr().err
    assert "run.trec, line 2: 3 fields" in told
    assert "queries.jsonl, line 1: no query" in told
    assert not (tmp_path / "pairs").exists()


def test_a_broken_line_of_a_passage_that_nobody_needs_is_told_too(
    source: Path, prepare: Prepare, capfd: pytest.CaptureFixture[str]
) -> None:
    with (source / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "e", "text": "cut\n')
    assert prepare() == BAD_INPUT
    assert "corpus.jsonl, line 5: " in capfd.readouterr().err


def test_broken_lines_can_be_skipped_and_are_counted_and_listed(
    source: Path, prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (source / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "e", "text": "cut\n')
    with (source / "run.trec").open("a") as run:
        run.write("1 Q0 c\n")
    assert prepare("on_broken_line=skip") == GOOD
    assert "skipped: 2 lines that could not be read; all are in" in capfd.readouterr().out
    summary = json.loads((tmp_path / "pairs" / "summary.json").read_text())
    assert (summary["pairs"], summary["broken_lines"]) == (4, 2)
    run_line, corpus_line = (tmp_path / "pairs" / "_prepare" / "broken_lines.txt").read_text().splitlines()
    assert "run.trec, line 5: 3 fields" in run_line
    assert "corpus.jsonl, line 5: " in corpus_line


def test_excluded_documents_identical_ids_and_a_sample(
    source: Path, prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (source / "excluded.tsv").write_text("1\ta\n")
    with (source / "run.trec").open("a") as run:
        run.write("1 Q0 1 3 0.5 t\n")
    assert prepare(f"exclude={source}/excluded.tsv", "drop_identical_ids=true") == GOOD
    pairs = [(pair["query_id"], pair["doc_id"], pair["first_stage_rank"]) for pair in read_pairs(tmp_path / "pairs")]
    assert pairs == [("1", "b", 1), ("2", "b", 1), ("2", "c", 2)]
    assert "1 excluded candidates, 1 with their query's id" in capfd.readouterr().out
    summary = json.loads((tmp_path / "pairs" / "summary.json").read_text())
    assert summary["removed"] == {"excluded": 1, "identical_ids": 1}
    (source / "excluded.tsv").write_text("1\tb\nand more\tb\n")
    assert prepare(f"exclude={source}/excluded.tsv", "drop_identical_ids=true") == REFUSED
    assert prepare("sample=1", f"output.path={tmp_path}/sample") == GOOD
    assert len({pair["query_id"] for pair in read_pairs(tmp_path / "sample")}) == 1


def test_an_empty_run_is_an_error(source: Path, prepare: Prepare, capfd: pytest.CaptureFixture[str]) -> None:
    (source / "run.trec").write_text("# nothing found\n")
    assert prepare() == SettingsError.exit_code
    assert "run: it has no candidates" in capfd.readouterr().err


def test_instructions_come_from_a_file_of_their_own(source: Path, prepare: Prepare, tmp_path: Path) -> None:
    (source / "more.tsv").write_text("1\tOnly recent ones.\n")
    assert prepare(f"instructions={source}/more.tsv") == GOOD
    found = {pair["query_id"]: pair["instruction"] for pair in read_pairs(tmp_path / "pairs")}
    assert found == {"1": "Only recent ones.", "2": None}


def test_everything_that_is_not_there_is_told_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = [f"{name}={tmp_path}/{name}.jsonl" for name in ("queries", "corpus", "instructions")]
    (tmp_path / "run.tsv").write_text("1\ta\t2\n")
    assert main([*settings, f"run={tmp_path}/run.tsv", f"output.path={tmp_path}/pairs"]) == SettingsError.exit_code
    told = capfd.readouterr().err
    assert all(f"{name}: " in told for name in ("queries", "corpus", "instructions"))
    assert "run_format=tsv_score" in told


def test_shards_may_lie_in_the_folder_of_a_beir_data_set_but_not_around_a_source(
    source: Path, prepare: Prepare, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(f"output.path={source}/pairs") == GOOD
    assert prepare(f"output.path={source}") == SettingsError.exit_code
    assert "lies in output.path" in capfd.readouterr().err


def test_a_data_set_of_ir_datasets_serves_as_all_three(tmp_path: Path) -> None:
    name = register_dataset(tmp_path)
    paths = [f"{setting}=ir_datasets:{name}" for setting in ("run", "queries", "corpus")]
    assert main([*paths, f"output.path={tmp_path}/pairs"]) == GOOD
    found = [(pair["query_id"], pair["query"], pair["passage"]) for pair in read_pairs(tmp_path / "pairs")]
    assert found == [("q1", "what", "second text"), ("q1", "what", "first text")]
    summary = json.loads((tmp_path / "pairs" / "summary.json").read_text())
    assert summary["first_stage"]["run"] == [{"ir_datasets": name}]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("depth=0", "depth is 0, but must be at least 1"),
        ("output.shard_rows=0", "output.shard_rows is 0"),
        ("memory_gb=0.1", "memory_gb is 0.1, but must be at least 0.25"),
        ("queries_columns.passage=body", "queries_columns.passage: no such column; there are query_id, query"),
        ("corpus_columns={doc_id: a, passage: a}", "corpus_columns: two columns are mapped to a; map each to its own"),
        ("corpus=[]", "corpus must be a path or a list of paths"),
        ("run_format=csv", "run_format"),
        ("sample=0", "sample is 0, but must be at least 1"),
        ("exclude=[]", "exclude must be a path or a list of paths"),
        ("on_broken_line=ignore", "on_broken_line is 'ignore', but must be one of fail, skip"),
        ("shard_rows=3", "shard_rows: no such setting"),
    ],
)
def test_settings_that_cannot_work_are_told(setting: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_settings(
            ["run=a", "queries=b", "corpus=c", "output.path=d", setting], "prepare", PrepareConfig, check_config
        )


def test_sources_and_output_must_be_given() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings([], "prepare", PrepareConfig, check_config)
    assert [problem.split()[0] for problem in error.value.problems] == ["corpus", "output.path", "queries", "run"]


def test_the_record_of_a_preparation_names_its_sources(prepare: Prepare, tmp_path: Path) -> None:
    assert prepare() == GOOD
    record = json.loads((tmp_path / "pairs" / PREPARE.path).read_text())
    assert [source["path"] for source in record["corpus"]] == ["corpus.jsonl"]
    assert record["run"][0]["name"] == "run.trec"
