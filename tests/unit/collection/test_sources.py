import gzip
from pathlib import Path

import pytest

from rank1_batch.collection.sources import (
    DatasetSource,
    FileSource,
    RunFormat,
    TableFormat,
    find_run_format,
    find_sources,
    find_table_format,
    hash_source,
    name_source,
)
from rank1_batch.errors import SettingsError


def names(setting: str, value: object) -> list[str]:
    return [source.file.path for source in find_sources(setting, value) if isinstance(source, FileSource)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl.gz", "sub/c.parquet", "README.md", "_SUCCESS", ".hidden.jsonl", "_tmp/d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_of_a_folder_the_files_are_taken_whose_names_say_what_they_are(folder: Path) -> None:
    assert names("corpus", str(folder)) == ["a.jsonl.gz", "b.jsonl", "sub/c.parquet"]


def test_suffixes_in_capital_letters_are_read_alike(tmp_path: Path) -> None:
    for name in ("CORPUS.JSONL.GZ", "other.jsonl"):
        (tmp_path / name).write_bytes(b"")
    assert names("corpus", str(tmp_path)) == ["CORPUS.JSONL.GZ"]
    assert find_table_format("A.TSV.ZST") is TableFormat.TSV
    assert find_run_format("RUN.TREC.GZ", RunFormat.AUTO) is RunFormat.TREC


@pytest.mark.parametrize("end", ["", ".gz", ".zst"])
def test_of_a_folder_in_beirs_layout_the_file_of_that_name_is_taken(folder: Path, end: str) -> None:
    for name in ("corpus", "queries"):
        (folder / f"{name}.jsonl{end}").write_bytes(b"")
    assert names("corpus", str(folder)) == [f"corpus.jsonl{end}"]
    assert names("queries", str(folder)) == [f"queries.jsonl{end}"]


def test_files_globs_lists_and_data_sets_come_in_the_order_given(folder: Path) -> None:
    found = find_sources("corpus", [str(folder / "sub/c.parquet"), "ir_datasets:vaswani", str(folder / "*.jsonl*")])
    assert [source.file.path if isinstance(source, FileSource) else source for source in found] == [
        "c.parquet", DatasetSource("vaswani"), ".hidden.jsonl", "a.jsonl.gz", "b.jsonl",
    ]  # fmt: skip


def test_of_a_folder_of_runs_all_files_are_taken_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("bm25.run", "dense.trec.gz", "notes", "_SUCCESS"):
        (tmp_path / name).write_bytes(b"")
    assert names("run", str(tmp_path)) == ["bm25.run", "dense.trec.gz", "notes"]


def test_all_paths_that_name_nothing_of_use_are_told_at_once(folder: Path) -> None:
    (folder / "empty").mkdir()
    paths = [str(folder / name) for name in ("none.jsonl", "README.md", "empty", "*.tsv", "b.jsonl")]
    with pytest.raises(SettingsError) as error:
        find_sources("corpus", paths)
    told = error.value.problems
    assert [problem.split(str(folder))[1].split(":")[0] for problem in told[:2]] == ["/none.jsonl", "/README.md"]
    assert "the name must end in .jsonl" in told[1]
    assert "has no files that end in .jsonl" in told[2]
    assert "no file has this name" in told[3]
    assert len(told) == 4


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("a.jsonl", TableFormat.JSONL),
        ("a.json.gz", TableFormat.JSONL),
        ("a.TSV", TableFormat.TSV),
        ("a.tsv.zst", TableFormat.TSV),
        ("a.parquet", TableFormat.PARQUET),
        ("a.txt", None),
        ("a", None),
    ],
)
def test_the_name_says_what_a_table_is(path: str, form: TableFormat | None) -> None:
    assert find_table_format(path) is form


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("score.json", RunFormat.JSON),
        ("run.parquet", RunFormat.PARQUET),
        ("run.trec.gz", RunFormat.TREC),
        ("run.txt", RunFormat.TREC),
        ("run", RunFormat.TREC),
    ],
)
def test_the_name_says_what_a_run_is(path: str, form: RunFormat) -> None:
    assert find_run_format(path, RunFormat.AUTO) is form


def test_what_a_third_column_means_is_never_guessed() -> None:
    with pytest.raises(SettingsError, match=r"run.tsv.gz: its name does not say .* run_format=tsv_score"):
        find_run_format("run.tsv.gz", RunFormat.AUTO)
    assert find_run_format("run.tsv.gz", RunFormat.TSV_RANK) is RunFormat.TSV_RANK


def test_a_run_is_known_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    """SHA-256 of "abc" is the example of FIPS 180-2."""
    (tmp_path / "run.trec").write_bytes(b"abc")
    [source] = find_sources("run", str(tmp_path / "run.trec"))
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_source(source) == {"name": "run.trec", "sha256": expected}
    assert hash_source(DatasetSource("a/b")) == {"ir_datasets": "a/b"}


def test_a_source_that_changes_gets_another_identity(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(b"one"))
    [before] = find_sources("corpus", str(path))
    path.write_bytes(gzip.compress(b"another one"))
    [after] = find_sources("corpus", str(path))
    assert name_source(before)["path"] == name_source(after)["path"] == "corpus.jsonl.gz"
    assert name_source(before) != name_source(after)
