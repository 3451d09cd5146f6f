"""Shards and their links."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.export.files import GROUP_ROWS, Shard
from rank1_batch.jobs.export.formats import FORMATS, Example, Query, Style
from rank1_batch.storage.store import open_store
from tests.support.scripted import read_links

TEXT = st.text(max_size=8).map(lambda text: text.encode(errors="ignore").decode())


def example(number: int, *, positive: bool, text: str = "text") -> Example:
    return Example(
        f"d{number}", positive, 0.5, positive, "complete", f"u{number % 3}", number, number % 2 or None, text
    )


def write(folder: Path, name: str, queries: list[Query]) -> Shard:
    shard = Shard(name, "train", 2, Style())
    for query in queries:
        shard.add(query.query_id, FORMATS[name].build(query, Style()))
    shard.put(open_store(str(folder)))
    return shard


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_any_text_comes_back_from_lines_and_rows(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("files")
    queries = [Query(f"q{n}", text, [example(n, positive=True, text=text)], []) for n, text in enumerate(texts)]
    pairs = pq.read_table(folder / write(folder, "st_pairs", queries).path).to_pylist()
    assert [(pair["query"], pair["passage"]) for pair in pairs] == [(text, text) for text in texts]
    lines = (folder / write(folder, "tevatron", queries).path).read_bytes().decode().rstrip("\n").split("\n")
    assert [json.loads(line)["query"] for line in lines] == texts


def test_links_name_file_record_and_place(tmp_path: Path) -> None:
    queries = [
        Query("q1", "one", [example(1, positive=True)], [example(2, positive=False)]),
        Query("q2", "two", [example(3, positive=True)], [example(4, positive=False)]),
    ]
    shard = write(tmp_path, "tevatron", queries)
    assert (shard.path, shard.records) == ("tevatron/train/part-00002.jsonl", 2)
    found = [tuple(link.values()) for link in read_links(tmp_path, "tevatron")]
    assert found == [
        (shard.path, 0, 0, True, "q1", "d1", "u1", 1, 1),
        (shard.path, 0, 1, False, "q1", "d2", "u2", 2, None),
        (shard.path, 1, 0, True, "q2", "d3", "u0", 3, 1),
        (shard.path, 1, 1, False, "q2", "d4", "u1", 4, None),
    ]


def test_a_mapping_of_scores_is_one_json_object(tmp_path: Path) -> None:
    queries = [Query(f"q{n}", "", [example(n, positive=True)], []) for n in range(3)]
    text = (tmp_path / write(tmp_path, "scores", queries).path).read_text()
    assert json.loads(text) == {"q0": {"d0": 0.5}, "q1": {"d1": 0.5}, "q2": {"d2": 0.5}}


def test_many_records_are_packed_in_groups(tmp_path: Path) -> None:
    count = 2 * GROUP_ROWS + 5
    queries = [Query(f"q{n}", "", [example(n, positive=True)], []) for n in range(count)]
    shard = write(tmp_path, "st_pairs", queries)
    assert pq.ParquetFile(tmp_path / shard.path).metadata.num_row_groups == 3
    assert [link["record"] for link in read_links(tmp_path, "st_pairs")] == list(range(count))


def test_a_shard_without_records_is_no_file(tmp_path: Path) -> None:
    write(tmp_path, "st_triplets", [Query("q", "", [example(1, positive=True)], [])])
    assert not list(tmp_path.rglob("*"))
