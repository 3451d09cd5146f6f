from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.errors import BadFileError, RefusedError
from rank1_batch.output.layout import INPUTS_PATH, PLAN_PATH
from rank1_batch.output.plan import (
    read_first_stages,
    read_inputs,
    read_plan,
    write_first_stages,
    write_inputs,
    write_plan,
)
from rank1_batch.pairs.inputs import KnownFile
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, open_store, stat_file, write_bytes

units = st.lists(
    st.builds(
        Unit,
        st.text("0123456789abcdef", min_size=16, max_size=16),
        st.text(min_size=1, max_size=20),
        st.text(max_size=20),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    ),
    max_size=20,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


@given(units)
def test_a_plan_is_read_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, units: list[Unit]) -> None:
    store = open_store(str(tmp_path_factory.mktemp("plan")))
    write_plan(store, units[:1])
    write_plan(store, units, stat_file(store, PLAN_PATH))
    assert read_plan(store) == units


def test_a_plan_that_another_run_wrote_meanwhile_is_not_replaced(store: Store) -> None:
    """A run may be paused between reading the plan and writing a longer one."""
    paused, other = ([Unit(name * 16, "a.parquet", "etag", 0, 3, 3)] for name in "ab")
    write_plan(store, other)
    seen = stat_file(store, PLAN_PATH)
    with pytest.raises(RefusedError, match=r"units\.parquet: another run wrote"):
        write_plan(store, paused)
    write_plan(store, [*other, *paused], seen)
    with pytest.raises(RefusedError, match=r"units\.parquet: another run wrote"):
        write_plan(store, [*paused, *other], seen)
    assert read_plan(store) == [*other, *paused]


def test_there_is_no_plan_before_it_is_written(store: Store) -> None:
    assert read_plan(store) == []


def test_first_stages_are_read_back_as_they_were_written(store: Store) -> None:
    assert read_first_stages(store) == []
    write_first_stages(store, [{"run": [{"name": "bm25.trec", "sha256": "0a"}], "depth": None}])
    assert read_first_stages(store) == [{"run": [{"name": "bm25.trec", "sha256": "0a"}], "depth": None}]


def test_a_damaged_plan_is_named(store: Store) -> None:
    for data in (b"", b"PAR1", to_parquet(pa.table({"other": [1]}))):
        write_bytes(store, PLAN_PATH, data)
        with pytest.raises(BadFileError, match=r"units\.parquet is damaged"):
            read_plan(store)


def test_known_files_come_back_as_they_were_written(store: Store) -> None:
    assert read_inputs(store) == {}
    files = {"a/0.parquet": KnownFile("12-34.5", "12-abc")}
    write_inputs(store, files)
    assert read_inputs(store) == files


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"a": ["b"]}', b'{"a": [1, 2]}'])
def test_a_damaged_file_is_named(store: Store, data: bytes) -> None:
    write_bytes(store, INPUTS_PATH, data)
    with pytest.raises(BadFileError, match=r"inputs\.json is damaged"):
        read_inputs(store)
