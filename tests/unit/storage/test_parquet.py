import gc
import hashlib
import itertools
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rank1_batch.errors import BadFileError
from rank1_batch.storage import parquet
from rank1_batch.storage.parquet import (
    RowReader,
    read_footers,
    read_list_sizes,
    read_query_ends,
    read_tables,
    to_parquet,
)
from rank1_batch.storage.store import FileInfo, Store, find_files, open_store

COLUMNS = ["query_id", "passage", "candidates"]
COUNTING_POOL = pa.proxy_memory_pool(pa.default_memory_pool())
"""Must outlive all that was allocated from it: Arrow does not keep it alive."""
CANDIDATE_LIST = pa.list_(pa.struct([("doc_id", pa.string()), ("text", pa.string())]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(str(tmp_path_factory.mktemp("files")))


def write(store: Store, table: pa.Table, **options: Any) -> str:
    path = f"{uuid.uuid4().hex}.parquet"
    pq.write_table(table, store.locate(path), **options)
    return path


def info(store: Store, path: str) -> FileInfo:
    return FileInfo(path, Path(store.locate(path)).stat().st_size, "")


@st.composite
def tables(draw: st.DrawFn, min_rows: int = 1) -> pa.Table:
    """Text, dictionaries, nulls and lists of structs, as inputs have them."""
    rows = draw(st.integers(min_rows, 80))
    sizes = draw(st.lists(st.none() | st.integers(0, 3), min_size=rows, max_size=rows))
    return pa.table(
        {
            "query_id": pa.array([None if i % 7 == 3 else f"q{i // 5}" for i in range(rows)]).dictionary_encode(),
            "number": pa.array(range(rows)),
            "passage": pa.array([f"passage {i} " * (i % 4) for i in range(rows)]),
            "candidates": pa.array(
                [None if n is None else [{"doc_id": f"d{k}", "text": None} for k in range(n)] for n in sizes],
                CANDIDATE_LIST,
            ),
        },
        metadata={"pandas": "a note that some writers leave"},
    )


@st.composite
def files(draw: st.DrawFn) -> tuple[pa.Table, int]:
    """A table, and the rows of a row group that it is to be written with."""
    table = draw(tables())
    return table, draw(st.integers(1, len(table) + 5))


@st.composite
def runs(draw: st.DrawFn, rows: int) -> list[tuple[int, int]]:
    """Runs of rows in any order, overlapping or not."""
    starts = draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=12))
    return [(start, draw(st.integers(start + 1, rows))) for start in starts]


@pytest.fixture(params=[0, 1 << 30], ids=["streamed", "read whole"], scope="module")
def row_group_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every row group is larger than this, or none is; a batch is so small that each group has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "STREAM_BYTES", request.param)
        patch.setattr(parquet, "BATCH_ROWS", 8)
        yield


@settings(max_examples=25)
@given(st.data())
def test_any_run_of_any_layout_is_the_tables_slice_in_any_order_of_calls(
    store: Store, row_group_limit: None, data: st.DataObject
) -> None:
    table, group_rows = data.draw(files())
    reader = RowReader(store, write(store, table, row_group_size=group_rows))
    for start, stop in data.draw(runs(len(table))):
        read = reader.read(start, stop, COLUMNS)
        assert read.to_pylist() == table.select(COLUMNS).slice(start, stop - start).to_pylist()
        assert read.schema.equals(table.select(COLUMNS).schema)


def test_columns_are_those_asked_for_in_each_call(store: Store, row_group_limit: None) -> None:
    table = pa.table({"row": range(100), "text": [f"text {row}" for row in range(100)]})
    reader = RowReader(store, write(store, table))
    for start, columns in ((0, ["row"]), (10, ["text"]), (20, ["row", "text"])):
        assert reader.read(start, start + 10, columns).to_pylist() == table.select(columns).slice(start, 10).to_pylist()


@pytest.mark.parametrize("group_rows", [7, 100, 3000])
def test_several_threads_may_read_one_file(store: Store, row_group_limit: None, group_rows: int) -> None:
    table = pa.table({"row": range(3000), "text": [f"text {row}" for row in range(3000)]})
    reader = RowReader(store, write(store, table, row_group_size=group_rows))
    units = list(itertools.pairwise([*range(0, 3000, 37), 3000]))
    units = units[1::2] + units[::2][::-1]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda unit: reader.read(unit[0], unit[1], ["row", "text"]), units))
    assert [part["row"].to_pylist() for part in read] == [list(range(*unit)) for unit in units]


def test_a_huge_row_group_is_read_in_bounded_memory_from_any_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second replica, or a resumed run, begins in the middle: what lies before is not held."""
    monkeypatch.setattr(parquet, "STREAM_BYTES", 1 << 20)
    monkeypatch.setattr(parquet, "BUFFER_BYTES", 1 << 16)
    rows, letters = 40_000, 1000
    texts = pa.array([f"{row:0{letters}}" for row in range(rows)])
    path = write(store, pa.table({"text": texts}), use_dictionary=False, compression="none", data_page_size=1 << 16)
    assert pq.read_metadata(store.locate(path)).num_row_groups == 1
    usual = pa.default_memory_pool()
    pa.set_memory_pool(COUNTING_POOL)
    reader = RowReader(store, path)
    try:
        for start in (0, rows - 100, rows // 2):
            assert int(reader.read(start, start + 100, ["text"])["text"][99].as_py()) == start + 99
    finally:
        pa.set_memory_pool(usual)
        del reader
        gc.collect()
    assert COUNTING_POOL.max_memory() < rows * letters / 3


@settings(max_examples=25)
@given(st.data())
def test_footers_are_those_that_pyarrow_reads(store: Store, data: st.DataObject) -> None:
    paths = [write(store, table) for table in data.draw(st.lists(tables(min_rows=0), min_size=1, max_size=3))]
    footers = read_footers(store, [info(store, path) for path in paths])
    assert [footer.num_rows for footer in footers if not isinstance(footer, BadFileError)] == [
        pq.read_metadata(store.locate(path)).num_rows for path in paths
    ]


def test_a_footer_that_is_larger_than_the_first_read_is_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "FOOTER_BYTES", 16)
    paths = [write(store, pa.table({f"c{i}": [1, 2] for i in range(columns)})) for columns in (1, 300)]
    footers = read_footers(store, [info(store, path) for path in paths])
    assert [footer.num_columns for footer in footers if not isinstance(footer, BadFileError)] == [1, 300]


def test_footers_of_more_files_than_one_request_takes_keep_their_order(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "FETCH_FILES", 2)
    paths = [write(store, pa.table({"x": range(rows)})) for rows in (3, 1, 4, 1, 5)]
    footers = read_footers(store, [info(store, path) for path in paths])
    assert [footer.num_rows for footer in footers if not isinstance(footer, BadFileError)] == [3, 1, 4, 1, 5]


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"x" * 7, b"query_id,query\n1,a\n" * 10, b"x" * 50 + b"\xff\xff\xff\x7fPAR1", b"\0" * 50 + b"PAR1"],
    ids=["empty", "magic only", "short", "csv", "footer larger than the file", "empty footer"],
)
def test_a_file_without_a_footer_becomes_an_error_that_names_it_and_spoils_no_other(
    store: Store, content: bytes
) -> None:
    Path(store.locate("bad.parquet")).write_bytes(content)
    good = write(store, pa.table({"x": [1]}))
    bad, fine = read_footers(store, [info(store, "bad.parquet"), info(store, good)])
    assert isinstance(bad, BadFileError)
    assert "bad.parquet" in str(bad)
    assert not isinstance(fine, BadFileError)


def test_a_file_that_is_gone_becomes_an_error_that_names_it(store: Store) -> None:
    (gone,) = read_footers(store, [FileInfo("gone.parquet", 1000, "")])
    assert isinstance(gone, BadFileError)
    assert "gone.parquet" in str(gone)


def test_opening_what_is_no_parquet_file_is_an_error_that_names_it(store: Store) -> None:
    Path(store.locate("text.parquet")).write_bytes(b"hello, world" * 10)
    for path in ("text.parquet", "nothing.parquet"):
        with pytest.raises(BadFileError, match=path):
            RowReader(store, path)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_file_that_is_damaged_inside_is_an_error_with_its_rows(store: Store, compression: str) -> None:
    table = pa.table({"text": [hashlib.sha256(b"%d" % row).hexdigest() for row in range(1000)]})
    path = write(store, table, compression=compression, use_dictionary=False, write_page_checksum=True)
    data = bytearray(Path(store.locate(path)).read_bytes())
    data[4:2000] = b"\xff" * 1996
    Path(store.locate(path)).write_bytes(data)
    with pytest.raises(BadFileError, match=rf"{path}: the file is damaged, rows 0 to 1000"):
        RowReader(store, path).read(0, 1000, ["text"])
    reader = RowReader(store, path)
    for start in (0, 10, 20):
        with pytest.raises(BadFileError, match=rf"{path}: the file is damaged, rows {start} to {start + 10}"):
            reader.read(start, start + 10, ["text"])


def _ends(values: list[Any]) -> list[int]:
    return [i + 1 for i, value in enumerate(values) if i + 1 == len(values) or values[i + 1] != value]


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.binary_view(),
    pa.int64(),
    pa.dictionary(pa.int32(), pa.string()),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
@settings(max_examples=12)
@example(values=[None, None, None, 1], group_rows=2)  # Arrow takes what lies under a null for a value
@given(values=st.lists(st.sampled_from([None, 1, 2, 33]), max_size=60), group_rows=st.integers(1, 30))
def test_a_query_ends_where_the_next_row_has_another_id(
    store: Store, kind: pa.DataType, values: list[int | None], group_rows: int
) -> None:
    ids: list[Any] = values
    if kind != pa.int64():
        ids = [None if value is None else str(value) for value in values]
    inner = pa.string() if pa.types.is_dictionary(kind) else kind
    table = pa.table({"qid": pa.array(ids, inner).cast(kind), "other": pa.nulls(len(ids))})
    path = write(store, table, row_group_size=group_rows)
    assert list(read_query_ends(store, path, "qid")) == _ends(ids)


def test_a_query_that_goes_on_in_the_next_batch_does_not_end_there(store: Store) -> None:
    """Batches of 65,536 rows are looked at one by one."""
    sizes = [65_000, 1000, 65_072, 65_536, 10]
    ids = [f"q{number}" for number, size in enumerate(sizes) for _ in range(size)]
    path = write(store, pa.table({"qid": ids}))
    assert list(read_query_ends(store, path, "qid")) == list(itertools.accumulate(sizes))


@settings(max_examples=25)
@given(
    sizes=st.lists(st.none() | st.integers(0, 4), max_size=60),
    group_rows=st.integers(1, 30),
    large=st.booleans(),
    other_first=st.booleans(),
)
def test_list_sizes_count_candidates_and_null_is_none_of_them(
    store: Store, sizes: list[int | None], group_rows: int, large: bool, other_first: bool
) -> None:
    inner = pa.struct([("doc_id", pa.string()), ("score", pa.float32())])
    kind = pa.large_list(inner) if large else pa.list_(inner)
    lists = [None if n is None else [{"doc_id": None, "score": 1.0}] * n for n in sizes]
    columns = {"cands": pa.array(lists, kind), "candsize": pa.nulls(len(lists), pa.int64())}
    names = sorted(columns, reverse=other_first)
    path = write(store, pa.table({name: columns[name] for name in names}), row_group_size=group_rows)
    assert list(read_list_sizes(store, path, "cands")) == [n or 0 for n in sizes]


def test_files_are_found_with_the_size_that_footers_are_read_by(store: Store, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "a.parquet")
    folder, found = find_files(str(tmp_path))
    (footer,) = read_footers(folder, found)
    assert not isinstance(footer, BadFileError)
    assert footer.num_rows == 3


def test_tables_come_in_the_order_of_their_paths_with_the_columns_asked_for(store: Store) -> None:
    paths = [write(store, pa.table({"a": [number], "b": ["x"]})) for number in range(3 * parquet.READ_AHEAD)]
    tables = list(read_tables(store, paths, ["a"]))
    assert [table.to_pydict() for table in tables] == [{"a": [number]} for number in range(len(paths))]


def test_no_more_than_a_few_tables_are_read_before_they_are_asked_for(store: Store) -> None:
    """A job has thousands of files, and whoever asks for them may be slower than the store."""
    path = write(store, pa.table({"a": [1]}))
    asked: list[str] = []

    def paths() -> Iterator[str]:
        for _ in range(10 * parquet.READ_AHEAD):
            asked.append(path)
            yield path

    tables = read_tables(store, paths(), ["a"])
    next(tables)
    assert len(asked) <= parquet.READ_AHEAD + 1
    assert sum(map(len, tables)) == 10 * parquet.READ_AHEAD - 1


def test_a_table_that_cannot_be_read_is_an_error_that_names_it(store: Store) -> None:
    good = write(store, pa.table({"a": [1]}))
    with pytest.raises(BadFileError, match=r"gone\.parquet"):
        list(read_tables(store, [good, "gone.parquet"], ["a"]))


def test_a_table_is_put_as_a_parquet_file_that_anyone_can_read() -> None:
    table = pa.table({"score": [0.1, 0.2, 0.3], "trace": ["a", "b", "c"]})
    assert pq.read_table(pa.BufferReader(to_parquet(table))).equals(table)
