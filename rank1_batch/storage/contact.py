"""The first contact with a store: a wrong address or a missing network shows within seconds, not minutes.

Only where a person watches (`trouble.watch_stores`). The replicas of a job begin when its driver has had contact,
and bear a store that is away for as long as any request does.
"""

import contextlib
import threading
import time

import fsspec
import stamina
from fsspec.asyn import AsyncFileSystem

from rank1_batch.errors import AccessError
from rank1_batch.storage.retries import is_silent, timeout_s
from rank1_batch.storage.trouble import describe_failure, is_watched, say_trouble

FIRST_CONTACT_S, TRY_S = 20.0, 10.0
"""Seconds in which a store has to answer when it is first used, and seconds for one try."""

_answered: set[str] = set()
"""Places that have answered this process."""

_lock = threading.Lock()


def make_contact(fs: fsspec.AbstractFileSystem, url: str, root: str) -> None:
    """Return when the store has answered. Raises AccessError where it does not answer in time.

    Raises what the driver raises where another try would not help, such as missing credentials.
    Sends nothing where nobody watches, or where the store has answered before.
    """
    place = "/".join(url.split("/")[:3])
    if not is_watched() or place in _answered:
        return
    with _lock:  # one line for many threads
        if place not in _answered:
            _wait_for_answer(fs, url, root)
            _answered.add(place)


def _wait_for_answer(fs: fsspec.AbstractFileSystem, url: str, root: str) -> None:
    limit_s, start, reason = min(FIRST_CONTACT_S, timeout_s()), time.monotonic(), ""

    def left_s() -> float:
        return max(0.0, limit_s - (time.monotonic() - start))

    def may_repeat(error: Exception) -> bool:
        nonlocal reason
        silent = is_silent(error)
        if silent and not reason:  # the first one says most: later tries are cut short
            reason = describe_failure(error)
            say_trouble(f"{url} does not answer ({reason}), trying for {left_s():.0f} s more")
        return silent

    try:
        for attempt in stamina.retry_context(may_repeat, attempts=None, timeout=limit_s, wait_max=2.0):
            with attempt:
                _ask(fs, root, min(TRY_S, left_s()))
    except Exception as error:  # drivers have no error class in common
        if not is_silent(error):
            raise
        raise AccessError([f"{url} does not answer ({reason}). {_advise(url)}"]) from error


def _ask(fs: fsspec.AbstractFileSystem, root: str, limit_s: float) -> None:
    limit = {"timeout": max(1.0, limit_s)} if isinstance(fs, AsyncFileSystem) else {}
    with contextlib.suppress(FileNotFoundError, PermissionError):  # answers, too: what is asked next may be there
        fs.info(root, **limit)


def _advise(url: str) -> str:
    address = "the address (AWS_ENDPOINT_URL)" if url.startswith("s3") else "the address"
    return f"Check {address} and the network, and run the same command again."
