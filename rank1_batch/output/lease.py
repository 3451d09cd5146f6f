"""_rank1/lease.json: who works on an output. It is renewed while a run lives.

A lease keeps two runs from doing the same work. It does not protect the output. The commit of each unit does that, so
two runs at once do no harm. Knows nothing about Ray or engines.
"""

import contextlib
import getpass
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rank1_batch.errors import BadFileError, Rank1BatchError, RefusedError, StorageError
from rank1_batch.storage.documents import read_document
from rank1_batch.storage.store import Store, create_bytes, delete_file, write_bytes

LEASE_PATH = "_rank1/lease.json"


class Timing(NamedTuple):
    """How often a lease is renewed, and how long it holds without renewal (three renewals and a slow store)."""

    renew_s: float = 10.0
    expires_s: float = 35.0


TIMING = Timing()


class LeaseState(StrEnum):
    """`stopping`: the holder starts no new units, and ends after those under way."""

    RUNNING = "running"
    STOPPING = "stopping"


class Lease(NamedTuple):
    """The run that holds an output. Times are seconds since 1970 by its clock.

    `place` is the machine and process namespace in which `pid` means something.
    """

    run_id: str
    host: str
    user: str
    pid: int
    place: str
    started_at: float
    renewed_at: float
    state: LeaseState = LeaseState.RUNNING

    def holder(self) -> str:
        """Who, where and since when, for people."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_at))
        return f"{self.user}@{self.host}, process {self.pid}, since {since}"


def read_lease(store: Store) -> Lease | None:
    """The lease of an output, or None if nobody holds it. Raises BadFileError if it is damaged."""
    found = read_document(store, LEASE_PATH, dict[str, Any])
    if found is None:
        return None
    try:
        # A later version may write more fields.
        return msgspec.convert([found[name] for name in Lease._fields if name in found], Lease)
    except msgspec.ValidationError as error:
        raise BadFileError(f"{store.url}/{LEASE_PATH} is damaged: {error}") from error


def may_go_on(store: Store, run_id: str) -> bool:
    """Whether a run still holds the output and was not asked to stop. Its replicas ask this.

    If there is no lease, the run has ended, or this machine no longer sees the output. A damaged lease says nothing,
    because the run that holds it will write it again.
    """
    try:
        lease = read_lease(store)
    except BadFileError:
        return True
    return lease is not None and (lease.run_id == run_id and lease.state == LeaseState.RUNNING)


class HeldLease:
    """The lease of this run. A thread renews it until it is released or lost.

    `displaced` is the run that it replaced. A late renewal by that run is overwritten.
    """

    def __init__(self, store: Store, lease: Lease, displaced: str | None, renew_s: float) -> None:
        self._store, self._lease, self._displaced, self._renew_s = store, lease, displaced, renew_s
        self._wake = threading.Event()
        self._ended = False
        self.stopping = False
        self.lost = False
        self.lost_to: Lease | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str:
        """The id of this run. Its replicas compare it with the lease to know whether to continue."""
        return self._lease.run_id

    def stop(self) -> None:
        """Ask the replicas, through the store, to start no new units. Safe in a signal handler."""
        self.stopping = True
        self._wake.set()

    def check(self) -> None:
        """Raises RefusedError if this run no longer holds the output. A paused run may wake up after another one."""
        self._look()
        if self.lost:
            raise self.refusal()

    def refusal(self) -> RefusedError:
        """A sentence about the other run."""
        other = f": {self.lost_to.holder()}" if self.lost_to else " and has ended since"
        return RefusedError(f"{self._store.url}: another run took over{other}. What this run judged is kept.")

    def release(self) -> None:
        """Release the output, if another run has not taken it."""
        self._ended = True
        self._wake.set()
        self._thread.join()
        self._look()
        if not self.lost:
            delete_file(self._store, LEASE_PATH)

    def _keep(self) -> None:
        while not self._ended and not self.lost:
            self._wake.clear()
            # If the store is away, the next renewal tries again, and the run itself reports it.
            with contextlib.suppress(Rank1BatchError):
                self._renew()
            if not self._ended:
                self._wake.wait(self._renew_s)

    def _look(self) -> None:
        """Find out whether this run still holds the lease. If the file is gone, another run took it and has ended."""
        try:
            found = read_lease(self._store)
        except BadFileError:
            return  # no run writes half a file, so the next renewal replaces it
        if found is None or found.run_id not in (self.run_id, self._displaced):
            self.lost_to, self.lost = found, True

    def _renew(self) -> None:
        self._look()
        if self.lost:
            return
        state = LeaseState.STOPPING if self.stopping else LeaseState.RUNNING
        write_bytes(self._store, LEASE_PATH, _to_json(self._lease._replace(renewed_at=time.time(), state=state)))


@contextmanager
def hold_lease(
    store: Store, tell: Callable[[str], None], *, takeover: bool, timing: Timing = TIMING
) -> Iterator[HeldLease]:
    """The lease of an output, for the time of the block.

    If another run holds it, this waits until that run has been silent for `expires_s`, and says so through `tell`. It
    does not wait if the process of that run is known to be gone. Raises RefusedError if that run is alive and
    `takeover` is not set.
    """
    lease, held = _new_lease(), None
    try:
        displaced = _take(store, lease, tell, timing.expires_s, takeover=takeover)
        held = HeldLease(store, lease, displaced, timing.renew_s)
        yield held
    except StorageError:
        raise  # if the store is away, the lease expires by itself
    except BaseException:  # also KeyboardInterrupt: the next run must not wait for this one's lease to expire
        _give_back(store, lease) if held is None else held.release()
        raise
    held.release()


def _take(store: Store, lease: Lease, tell: Callable[[str], None], expires_s: float, *, takeover: bool) -> str | None:
    """Write a lease if there is none, or an expired one. Returns the id of the run that held it before."""
    # Read first: a store that ignores conditional puts would replace the lease of the other run.
    other = _read_other(store, takeover=takeover)
    if other is None and create_bytes(store, LEASE_PATH, _to_json(lease)):
        return None
    other = other or _read_other(store, takeover=takeover)
    if other is not None and not takeover and not _is_gone(other):
        _wait_for_silence(store, other, tell, expires_s)
    write_bytes(store, LEASE_PATH, _to_json(lease))
    return other and other.run_id


def _give_back(store: Store, lease: Lease) -> None:
    """Delete a lease, if it was put before the run was stopped."""
    with contextlib.suppress(BadFileError):
        found = read_lease(store)
        if found is not None and found.run_id == lease.run_id:
            delete_file(store, LEASE_PATH)


def _read_other(store: Store, *, takeover: bool) -> Lease | None:
    """The lease of another run. None if there is none, or a damaged one that `takeover` replaces."""
    try:
        return read_lease(store)
    except BadFileError as error:
        if takeover:
            return None
        hint = "If no other run is active on this output, replace it with run.takeover=true."
        raise BadFileError(f"{error}. {hint}") from error


def clear_lease(store: Store) -> None:
    """Delete the lease of a process of this machine that was killed right before it could give it back."""
    with contextlib.suppress(BadFileError):
        found = read_lease(store)
        if found is not None and _is_gone(found):
            delete_file(store, LEASE_PATH)


def _new_lease() -> Lease:
    now = time.time()
    return Lease(uuid.uuid4().hex, socket.gethostname(), _user(), os.getpid(), _place(), now, now)


def _wait_for_silence(store: Store, other: Lease, tell: Callable[[str], None], expires_s: float) -> None:
    """Return when a lease is gone or has not been renewed for a while. Raises RefusedError if it was renewed.

    Only changes count, because the clocks of two machines may differ.
    """
    tell(f"another run may be active ({other.holder()}). Waiting up to {expires_s:.0f} s to see whether it is")
    deadline = time.monotonic() + expires_s
    while time.monotonic() < deadline:
        time.sleep(min(1.0, expires_s / 10))  # a poll, because another machine renews it, and a store sends no notice
        found = read_lease(store)
        if found is None:
            return
        if found != other:
            raise RefusedError(
                f"{store.url}: another run is at work: {found.holder()}. "
                "Wait for it, or replace it with run.takeover=true. Units under way are then judged again. "
                "All others are kept."
            )


def _is_gone(lease: Lease) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    if lease.place != _place():
        return False
    try:
        os.kill(lease.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # alive, and of another user
    return False


def _place() -> str:
    """This boot of this machine, and the namespace of its process numbers (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid.uuid4().hex  # unknown: never the same as another's


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "?"  # a container without a user of that number


def _to_json(lease: Lease) -> bytes:
    return json.dumps(lease._asdict()).encode()
