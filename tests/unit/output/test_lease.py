"""One run at a time works on an output: who it is, for how long, and what happens when it is gone."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rank1_batch.errors import BadFileError, RefusedError, StorageError
from rank1_batch.output.lease import LEASE_PATH, HeldLease, Timing, clear_lease, hold_lease, may_go_on, read_lease
from rank1_batch.storage.store import Store, delete_file, open_store, read_bytes, write_bytes
from tests.support.seaweed import wait_for

QUICK = Timing(renew_s=0.05, expires_s=1.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@contextmanager
def hold(store: Store, *, takeover: bool = False, told: list[str] | None = None) -> Iterator[HeldLease]:
    with hold_lease(store, (told if told is not None else []).append, takeover=takeover, timing=QUICK) as held:
        yield held


def leave_behind(store: Store, **changes: object) -> None:
    """A lease whose holder does not renew it."""
    with hold(store):
        lease = read_lease(store)
    assert lease is not None
    write_bytes(store, LEASE_PATH, json.dumps({**lease._asdict(), "run_id": "other", **changes}).encode())


def find_holder(store: Store) -> str | None:
    """The run that holds the output."""
    lease = read_lease(store)
    return lease and lease.run_id


def test_a_lease_tells_who_holds_the_output_and_goes_with_its_holder(store: Store) -> None:
    with hold(store) as held:
        lease = read_lease(store)
        assert lease is not None
        assert (lease.run_id, lease.pid) == (held.run_id, os.getpid())
        assert f"process {os.getpid()}, since 20" in lease.holder()
    assert read_lease(store) is None


def test_a_lease_goes_also_when_the_run_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), hold(store):
        raise ZeroDivisionError
    assert read_lease(store) is None


def test_where_the_store_is_away_the_lease_stays_and_the_error_is_told_at_once(store: Store) -> None:
    with pytest.raises(StorageError), hold(store):
        raise StorageError("no answer")
    assert read_lease(store) is not None


def test_a_second_run_is_refused_with_who_and_since_when(store: Store) -> None:
    told: list[str] = []
    refused = pytest.raises(RefusedError, match=rf"process {os.getpid()}, since .*run\.takeover=true")
    with hold(store), refused, hold(store, told=told):
        pass
    assert "another run may be active" in told[0]


def test_a_lease_that_nobody_renews_is_taken_after_a_while(store: Store) -> None:
    leave_behind(store, place="elsewhere")
    told: list[str] = []
    with hold(store, told=told) as held:
        assert find_holder(store) == held.run_id
    assert len(told) == 1


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_at_once(store: Store) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave_behind(store, pid=gone.pid)
    told: list[str] = []
    with hold(store, told=told):
        pass
    assert told == []


def test_a_takeover_does_not_wait_and_the_other_run_learns_of_it(store: Store) -> None:
    with hold(store) as first, hold(store, takeover=True) as second:
        wait_for(lambda: first.lost_to is not None, "the first run did not learn of it", 10)
        assert first.lost_to is not None
        assert first.lost_to.run_id == second.run_id
        assert second.lost_to is None
        assert may_go_on(store, second.run_id)
        assert not may_go_on(store, first.run_id)


def test_a_run_that_lost_its_lease_leaves_the_others_alone(store: Store) -> None:
    with contextlib.ExitStack() as second_run:
        with hold(store) as first:
            second = second_run.enter_context(hold(store, takeover=True))
            wait_for(lambda: first.lost_to is not None, "the first run did not learn of it", 10)
        assert find_holder(store) == second.run_id


def test_the_replicas_of_a_run_go_on_until_it_stops(store: Store) -> None:
    with hold(store) as held:
        assert may_go_on(store, held.run_id)
        held.stop()
        wait_for(lambda: not may_go_on(store, held.run_id), "the replicas were not told", 10)
    assert not may_go_on(store, held.run_id)


def test_of_many_that_start_at_once_one_holds_the_lease(store: Store) -> None:
    holding, refused = [], []
    done = threading.Barrier(5)

    def start() -> None:
        try:
            with hold(store):
                holding.append(1)
                done.wait(30)
        except RefusedError:
            refused.append(1)
            done.wait(30)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(holding), len(refused)) == (1, 4)


def test_a_paused_run_that_wakes_up_after_another_one_has_ended_knows(store: Store) -> None:
    """It neither believes that it still holds the output, nor takes it again."""
    with hold(store) as paused:
        with hold(store, takeover=True):
            pass
        with pytest.raises(RefusedError, match="another run took over and has ended since"):
            paused.check()
        wait_for(lambda: paused.lost, "the paused run did not learn of it", 10)
        assert read_lease(store) is None


def test_a_run_that_holds_its_output_may_finish(store: Store) -> None:
    with hold(store) as held:
        held.check()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"run_id": 1}', b"\xff", b'{"run_id": "a", "host": "h"}'])
def test_a_damaged_lease_is_named_with_what_to_do(store: Store, data: bytes) -> None:
    write_bytes(store, LEASE_PATH, data)
    with pytest.raises(BadFileError, match=r"lease\.json is damaged: .*run\.takeover=true"), hold(store):
        pass
    with hold(store, takeover=True) as held:
        assert find_holder(store) == held.run_id


def test_a_lease_of_a_later_version_is_read(store: Store) -> None:
    leave_behind(store, place="elsewhere", later="unknown", state="running")
    assert find_holder(store) == "other"


def test_a_lease_that_is_damaged_while_its_run_lives_is_written_anew(store: Store) -> None:
    with hold(store) as held:
        write_bytes(store, LEASE_PATH, b"{")
        assert may_go_on(store, held.run_id)
        held.check()
        wait_for(lambda: (store_lease := read_bytes(store, LEASE_PATH)) and store_lease != b"{", "no renewal", 10)
        assert find_holder(store) == held.run_id
    assert read_lease(store) is None


class Unconditional(MemoryFileSystem):
    """A store that puts a file also where it was asked to create one and there is one."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value)


def test_a_second_run_is_refused_also_where_the_store_ignores_the_condition_of_a_put() -> None:
    store = Store(Unconditional(), "/judged", "memory://judged")
    with hold(store) as first:
        with pytest.raises(RefusedError, match="another run is at work"), hold(store):
            pass
        assert find_holder(store) == first.run_id


class Interrupting(MemoryFileSystem):
    """A store at which the user presses Ctrl-C right after the lease is put."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value)
        raise KeyboardInterrupt


def test_a_lease_is_given_back_also_where_its_run_is_stopped_while_it_takes_it() -> None:
    store = Store(Interrupting(), "/judged", "memory://judged")
    with pytest.raises(KeyboardInterrupt), hold(store):
        pass
    assert read_lease(store) is None


def test_a_lease_is_cleared_only_where_its_process_is_gone(store: Store) -> None:
    """A run may be killed between its last file and its lease; the next one has nothing to do."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave_behind(store)
    clear_lease(store)
    assert find_holder(store) == "other"  # this process lives
    leave_behind(store, pid=gone.pid, place="elsewhere")
    clear_lease(store)
    assert find_holder(store) == "other"
    write_bytes(store, LEASE_PATH, b"{")
    clear_lease(store)
    assert read_bytes(store, LEASE_PATH) == b"{"
    delete_file(store, LEASE_PATH)
    leave_behind(store, pid=gone.pid)
    clear_lease(store)
    assert read_lease(store) is None
