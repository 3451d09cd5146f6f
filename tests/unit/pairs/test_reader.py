import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rank1_batch.errors import BadFileError
from rank1_batch.judging.records import failed_judgment
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.judgments import build_judgments, join_texts, read_judgments
from rank1_batch.pairs import reader as texts
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import RowReader, to_parquet
from rank1_batch.storage.store import Store, list_files, open_store, stat_file, write_bytes

PAIRS = [
    {"query_id": f"q{i // 3}", "query": f"query {i // 3}", "doc_id": f"d{i}", "passage": f"passage {i}"}
    for i in range(10)
]
LISTS = [
    {"query_id": str(i), "query": f"query {i}", "candidates": [{"doc_id": f"d{i}{j}", "text": f"{i} {j}"} for j in r]}
    for i, r in enumerate([range(2), range(0), range(3)])
]
Shard = Callable[..., Store]


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    def write(rows: list[dict[str, Any]], path: str = "a.parquet") -> Store:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / path)
        return open_store(str(tmp_path))

    return write


def unit_of(store: Store, start: int, stop: int, path: str = "a.parquet") -> Unit:
    (file,) = (file for file in list_files(store) if file.path == path)
    return Unit(f"{path}-{start}", path, file.identity, start, stop, stop - start)


def commit(output: Store, unit: Unit, rows: pa.Table) -> Unit:
    """Judgments of these rows in the output, as a run would leave them."""
    unit = unit._replace(pairs=len(rows))
    table = build_judgments(rows, [failed_judgment("not judged")] * len(rows), unit.unit_id, ())
    commit_unit(output, unit, table, Counts(rows=len(rows)))
    return unit


def test_a_judgment_gets_the_text_of_its_own_row(shard: Shard, tmp_path: Path) -> None:
    source, output = shard(PAIRS), open_store(str(tmp_path / "out"))
    reader = UnitReader(source, {}, ())
    unit = unit_of(source, 3, 8)
    rows, _ = reader.read(unit)
    commit(output, unit, rows)
    joined = join_texts(read_judgments(output, unit, ["doc_id", "row", "candidate"]), rows, "here").to_pylist()
    assert [(row["doc_id"], row["query"], row["passage"]) for row in joined] == [
        (PAIRS[i]["doc_id"], PAIRS[i]["query"], PAIRS[i]["passage"]) for i in range(3, 8)
    ]
    assert {(row["title"], row["instruction"]) for row in joined} == {(None, None)}


def test_files_are_opened_side_by_side_and_each_once(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, opened, both = shard(PAIRS), list[str](), threading.Barrier(2, timeout=20)
    shard(PAIRS, "b.parquet")

    class Meeting(RowReader):
        def __init__(self, store: Store, path: str) -> None:
            opened.append(path)
            both.wait()  # the other file is being opened, too
            super().__init__(store, path)

    monkeypatch.setattr(texts, "RowReader", Meeting)
    reader = UnitReader(source, {}, ())
    units = [unit_of(source, start, start + 2, path) for start in (0, 2) for path in ("a.parquet", "b.parquet")]
    with ThreadPoolExecutor(len(units)) as pool:
        read = list(pool.map(reader.read, units))
    assert sorted(opened) == ["a.parquet", "b.parquet"]
    assert [rows["doc_id"].to_pylist() for rows, _ in read] == [
        [PAIRS[i]["doc_id"] for i in range(unit.row_start, unit.row_stop)] for unit in units
    ]


def test_each_of_a_rows_candidates_gets_its_own_text(shard: Shard, tmp_path: Path) -> None:
    source, output = shard(LISTS), open_store(str(tmp_path / "out"))
    unit = unit_of(source, 0, 3)
    rows, _ = UnitReader(source, {}, ()).read(unit)
    unit = commit(output, unit, rows)
    joined = join_texts(read_judgments(output, unit, ["doc_id", "row", "candidate"]), rows, "here").to_pylist()
    assert [(row["doc_id"], row["passage"]) for row in joined] == [
        ("d00", "0 0"), ("d01", "0 1"), ("d20", "2 0"), ("d21", "2 1"), ("d22", "2 2"),
    ]  # fmt: skip


def test_text_that_is_no_utf8_is_null_and_moves_no_other(shard: Shard, tmp_path: Path) -> None:
    broken = [{**PAIRS[i], "passage": b"\xff" if i == 1 else b"good"} for i in range(3)]
    source, output = shard(broken), open_store(str(tmp_path / "out"))
    unit = unit_of(source, 0, 3)
    rows, _ = UnitReader(source, {}, ()).read(unit)
    commit(output, unit, rows)
    joined = join_texts(read_judgments(output, unit, ["row", "candidate"]), rows, "here")
    assert joined["passage"].to_pylist() == ["good", None, "good"]


def test_judgments_of_other_rows_are_not_joined(shard: Shard) -> None:
    reader = UnitReader(shard(PAIRS), {}, ())
    rows, _ = reader.read(unit_of(reader._source, 0, 3))
    others, _ = reader.read(unit_of(reader._source, 1, 4))
    with pytest.raises(BadFileError, match="unit 7: the rows of the input are not those that were judged"):
        join_texts(others, rows, "unit 7")


def test_more_files_than_are_kept_open_are_read_all_the_same(shard: Shard) -> None:
    for number in range(20):
        source = shard([{**PAIRS[0], "passage": f"of file {number}"}], f"{number}.parquet")
    reader = UnitReader(source, {}, ())
    for number in [*range(20), *range(20)]:
        rows, _ = reader.read(unit_of(source, 0, 1, f"{number}.parquet"))
        assert rows["passage"].to_pylist() == [f"of file {number}"]
    assert len(reader._open) < 20


def test_a_file_that_changed_since_it_was_planned_is_named(shard: Shard) -> None:
    source = shard(PAIRS)
    unit = unit_of(source, 0, 3)
    shard(PAIRS[:5])
    with pytest.raises(BadFileError, match=r"a\.parquet: changed or removed"):
        UnitReader(source, {}, ()).read(unit)


def test_columns_that_do_not_serve_are_named_with_their_file(shard: Shard) -> None:
    source = shard(PAIRS)
    with pytest.raises(BadFileError, match=r"a\.parquet: no column 'qid'"):
        UnitReader(source, {"query_id": "qid"}, ()).read(unit_of(source, 0, 3))


class Replacing(MemoryFileSystem):
    """A store whose file is replaced while it is read. s3fs then raises a TypeError where the store gives no reason."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    replaced = False

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            return super().open(path, mode, **options)
        data, whole = self.cat_file(path), self

        class Part(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if whole.replaced:
                    raise TypeError
                return super().read(size)

        return Part(data)


def test_a_file_that_is_replaced_while_it_is_read_has_changed() -> None:
    files = Replacing()
    store = Store(files, "/pairs", "memory://pairs")
    groups = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(PAIRS), groups, row_group_size=5)
    write_bytes(store, "a.parquet", groups.getvalue())
    reader, file = UnitReader(store, {}, ()), stat_file(store, "a.parquet")
    assert file is not None
    reader.read(Unit("a.parquet-0", "a.parquet", file.identity, 0, 5, 5))
    unit = Unit("a.parquet-5", "a.parquet", file.identity, 5, 10, 5)
    files.replaced = True
    with pytest.raises(TypeError):
        reader.read(unit)  # the file is as it was: the store is to blame
    write_bytes(store, "a.parquet", to_parquet(pa.Table.from_pylist(PAIRS[:7])))
    with pytest.raises(BadFileError, match=r"a\.parquet: changed or removed since the job was planned"):
        reader.read(unit)
