from pathlib import Path

import pytest

from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.success import build_success, is_finished
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import Store, open_store, write_bytes

UNITS = [Unit(name * 16, f"{name}.parquet", "etag", 0, 3, 3) for name in "ab"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_a_job_is_finished_for_the_plan_that_it_was_finished_for(store: Store) -> None:
    assert not is_finished(store, UNITS)
    write_bytes(store, SUCCESS_PATH, build_success(UNITS))
    assert is_finished(store, UNITS)
    assert not is_finished(store, UNITS[:1])
    assert not is_finished(store, UNITS[::-1])


def test_an_empty_success_of_an_earlier_version_is_believed(store: Store) -> None:
    write_bytes(store, SUCCESS_PATH, b"")
    assert is_finished(store, UNITS)


def test_a_damaged_success_is_none(store: Store) -> None:
    write_bytes(store, SUCCESS_PATH, b"{")
    assert not is_finished(store, UNITS)
