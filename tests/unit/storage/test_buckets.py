from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.storage.buckets import deal_rows, read_bucket, read_buckets

KEYS = st.lists(st.lists(st.none() | st.text("abcé", max_size=2), max_size=12), max_size=6)


def as_tables(keys: list[list[str | None]]) -> Iterator[pa.Table]:
    number = 0
    for part in keys:
        rows = list(range(number, number + len(part)))
        number += len(part)
        yield pa.table({"key": pa.array(part, pa.string()), "row": pa.array(rows, pa.int64())})


@given(KEYS, st.integers(1, 5))
def test_each_row_is_in_one_bucket_in_order_and_keys_stay_together(
    tmp_path_factory: pytest.TempPathFactory, keys: list[list[str | None]], count: int
) -> None:
    paths = deal_rows(as_tables(keys), "key", tmp_path_factory.mktemp("deal"), count)
    found = [table.to_pylist() for path in paths if (table := read_bucket(path)) is not None]
    assert len(paths) == count
    assert sorted(row["row"] for rows in found for row in rows) == list(range(sum(map(len, keys))))
    for rows in found:
        assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)
    homes = [{row["key"] or "" for row in rows} for rows in found]
    assert sum(map(len, homes)) == len(set().union(*homes))


def test_many_small_tables_are_written_in_large_batches(tmp_path: Path) -> None:
    (path,) = deal_rows(as_tables([["a", "b"]] * 100), "key", tmp_path, 1)
    table = read_bucket(path)
    assert table is not None
    assert table["row"].num_chunks == 1


def test_some_columns_of_the_buckets_that_have_rows_can_be_read(tmp_path: Path) -> None:
    paths = deal_rows(as_tables([["a"]]), "key", tmp_path, 3)
    assert [table.to_pydict() for table in read_buckets(paths, ["row"])] == [{"row": [0]}]
