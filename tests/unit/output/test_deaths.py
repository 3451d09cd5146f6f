from pathlib import Path

import pytest

from rank1_batch.output.deaths import count_deaths, record_deaths
from rank1_batch.storage.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


def test_deaths_are_counted_for_each_unit_that_was_in_flight(store: Store) -> None:
    assert count_deaths(store) == {}
    record_deaths(store, ["a", "b"], "first")
    record_deaths(store, ["b"], "second")
    record_deaths(store, ["b"], "second")  # a repeated request is the same death
    assert count_deaths(store) == {"a": 1, "b": 2}
