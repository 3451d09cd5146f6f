"""How a run that did not judge everything says why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rank1_batch.config import load_config
from rank1_batch.errors import InterruptedJobError, RefusedError
from rank1_batch.lease import Timing, hold_lease
from rank1_batch.manifest import Counts
from rank1_batch.pipeline import Work, judge
from rank1_batch.storage import Store, open_store
from rank1_batch.units import Unit

SELDOM = Timing(renew_s=1000.0, expires_s=1.0)
"""No renewal comes while a test runs: this process learns nothing of its lease by itself."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "judged"))


@pytest.fixture(autouse=True)
def all_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas that were told to stop before they began anything."""

    def stream_units(*_: Any) -> Iterator[Any]:
        yield from ()

    monkeypatch.setattr("rank1_batch.stages.stream.stream_units", stream_units)


def hold(store: Store, *, takeover: bool = False) -> Any:
    return hold_lease(store, lambda _: None, takeover=takeover, timing=SELDOM)


def judge_one_unit(store: Store, lease: Any) -> None:
    unit = Unit("unit", "0.parquet", "etag", 0, 1, 1)
    work = Work("pairs", store, [unit], [unit], [unit], [], [], 0.0)
    config = load_config(["model=custom", "model.name=none", "input.path=pairs", f"output.path={store.url}"])
    judge(work, config, Console(quiet=True), Counts(), lease)


def test_a_run_that_was_asked_to_stop_says_what_is_left(store: Store) -> None:
    with hold(store) as lease:
        lease.stop()
        with pytest.raises(InterruptedJobError, match=r"0 units were judged in this run, 1 are left"):
            judge_one_unit(store, lease)


def test_a_run_whose_replicas_alone_saw_the_other_one_was_not_asked_to_stop(store: Store) -> None:
    with hold(store) as lease:
        with hold(store, takeover=True):
            pass
        with pytest.raises(RefusedError, match=r"another run took over, and has ended since"):
            judge_one_unit(store, lease)
