"""ir_datasets on data sets made here: what it downloads is not tested."""

from collections.abc import Iterator
from pathlib import Path

import ir_datasets
import pytest
from ir_datasets.formats import BaseQrels, BaseScoredDocs, GenericScoredDoc, TrecQrel, TsvDocs, TsvQueries
from ir_datasets.util import LocalDownload

from rank1_batch.collection.ir_datasets import read_dataset, read_dataset_run
from rank1_batch.collection.qrels import read_qrels
from rank1_batch.collection.records import PASSAGES, QUERIES, Row
from rank1_batch.collection.trec import RunLine
from rank1_batch.errors import SettingsError


class Qrels(BaseQrels):
    def qrels_iter(self) -> Iterator[TrecQrel]:
        yield TrecQrel("q1", "d1", 2, "0")
        yield TrecQrel("q1", "d2", 0, "0")


class ScoredDocs(BaseScoredDocs):
    def scoreddocs_iter(self) -> Iterator[GenericScoredDoc]:
        yield GenericScoredDoc("q1", "d1", 1)
        yield GenericScoredDoc("q1", "d2", 2.5)


def register_dataset(folder: Path) -> str:
    """The id of a data set of two documents and one query, in this process's registry."""
    (folder / "docs.tsv").write_text("d1\tfirst text\nd2\tsecond text\n")
    (folder / "queries.tsv").write_text("q1\twhat\n")
    name = f"rank1-batch-test/{folder.name}"
    parts = (
        TsvDocs(LocalDownload(folder / "docs.tsv"), namespace=name),
        TsvQueries(LocalDownload(folder / "queries.tsv")),
        ScoredDocs(),
        Qrels(),
    )
    ir_datasets.registry.register(name, ir_datasets.datasets.base.Dataset(*parts))
    return name


def test_texts_and_candidates_are_those_of_the_data_set(tmp_path: Path) -> None:
    name = register_dataset(tmp_path)
    assert list(read_dataset(name, PASSAGES)) == [Row("d1", "first text"), Row("d2", "second text")]
    assert list(read_dataset(name, QUERIES)) == [Row("q1", "what")]
    assert list(read_dataset_run(name)) == [RunLine("q1", "d1", None, 1.0), RunLine("q1", "d2", None, 2.5)]


def test_grades_of_a_data_set_serve_as_qrels_also_beside_a_file(tmp_path: Path) -> None:
    name = register_dataset(tmp_path)
    (tmp_path / "more.txt").write_text("q2 0 d1 1\n")
    assert read_qrels("qrels", f"ir_datasets:{name}") == {"q1": {"d1": 2, "d2": 0}}
    assert read_qrels("qrels", [f"ir_datasets:{name}", f"{tmp_path}/more.txt"])["q2"] == {"d1": 1}


def test_a_data_set_that_ir_datasets_does_not_know_is_told() -> None:
    with pytest.raises(SettingsError, match="ir_datasets:no-such-set: ir_datasets has no such data set"):
        read_dataset("no-such-set", QUERIES)


def test_what_a_data_set_does_not_have_is_told() -> None:
    """vaswani's parts are known without a download, and it has no scoreddocs."""
    with pytest.raises(SettingsError, match="ir_datasets:vaswani has no scoreddocs"):
        read_dataset_run("vaswani")
