"""What a run makes of its receipts, and how one that did not judge everything says why."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rank1_batch.cluster import stream  # here, since Ray takes seconds to import
from rank1_batch.errors import InterruptedJobError, RefusedError
from rank1_batch.jobs.rerank.job import judge
from rank1_batch.jobs.rerank.summary import Judged
from rank1_batch.jobs.rerank.work import Work
from rank1_batch.output.counts import Counts
from rank1_batch.output.lease import Timing, hold_lease
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.judge import Receipt
from rank1_batch.settings import load_config
from rank1_batch.storage.store import Store, open_store

SELDOM = Timing(renew_s=1000.0, expires_s=1.0)
"""No renewal comes while a test runs: this process learns nothing of its lease by itself."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "judged"))


def answer(monkeypatch: pytest.MonkeyPatch, receipts: Sequence[Receipt]) -> None:
    """These come back from the replicas; of all other units they were told to stop before they began them."""

    def stream_units(*_: Any) -> Iterator[Receipt]:
        yield from receipts

    monkeypatch.setattr(stream, "stream_units", stream_units)


def hold(store: Store, *, takeover: bool = False) -> Any:
    return hold_lease(store, lambda _: None, takeover=takeover, timing=SELDOM)


def judge_two_units(store: Store, lease: Any) -> Judged:
    units = [Unit(name, "0.parquet", "etag", 0, 1, 1) for name in ("first", "second")]
    work = Work("pairs", store, units, units, units, [], [], 0.0)
    config = load_config(["model=custom", "model.name=none", "input.path=pairs", f"output.path={store.url}"])
    return judge(work, config, Console(quiet=True), Counts(), lease)


def test_judging_begins_with_the_first_unit_that_is_begun_also_where_another_is_done_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    began = {"second": now + 50, "first": now + 20}
    answer(monkeypatch, [Receipt(name, Counts(rows=1), True, "node", "1@host", at) for name, at in began.items()])
    with hold(store) as lease:
        assert judge_two_units(store, lease).load_s == pytest.approx(20, abs=5)


def test_a_run_that_was_asked_to_stop_says_what_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [Receipt("first", Counts(rows=1), True, "node", "1@host", time.monotonic())])
    with hold(store) as lease:
        lease.stop()
        with pytest.raises(InterruptedJobError, match=r"1 units judged in this run, 1 left"):
            judge_two_units(store, lease)


def test_a_run_whose_replicas_alone_saw_the_other_one_was_not_asked_to_stop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, [])
    with hold(store) as lease:
        with hold(store, takeover=True):
            pass
        with pytest.raises(RefusedError, match=r"another run took over and has ended since"):
            judge_two_units(store, lease)
