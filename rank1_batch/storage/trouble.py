"""Says on the console that a store does not answer: a line at first, then one a minute.

Knows nothing about how requests are made or repeated.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

FIRST_LINE_S, LINE_S = 10.0, 60.0
"""Seconds for which a request has failed when the first line is due, and seconds between two lines."""

logger = logging.getLogger(__name__)


class _Watch:
    """Who is told of trouble in this process, and when the last line was due."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] | None = None
        self._lock = threading.Lock()
        self._last = float("-inf")

    def is_due(self) -> bool:
        """Whether a line is due. Of several threads that ask at once, one gets a yes."""
        with self._lock:
            due = time.monotonic() - self._last >= LINE_S
            if due:
                self._last = time.monotonic()
            return due


_watch = _Watch()


@contextmanager
def watch_stores(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell a person about stores that do not answer, in any thread of this process, for the time of the block.

    Within the block a store has to answer soon after it is first used (`contact.FIRST_CONTACT_S`).
    """
    _watch.tell = tell
    try:
        yield
    finally:
        _watch.tell = None


def is_watched() -> bool:
    """Whether a person waits for this process."""
    return _watch.tell is not None


def say_trouble(text: str) -> None:
    """A line on the console, or in the log where nobody watches."""
    if _watch.tell is None:
        logger.warning(text)
    else:
        _watch.tell(text)


def say_waiting(where: str, error: BaseException, waited_s: float, left_s: float) -> None:
    """Say that a request has failed for so long and is repeated, unless a line was said a short while ago."""
    if waited_s >= FIRST_LINE_S and left_s > 0 and _watch.is_due():
        say_trouble(f"{where} does not answer ({describe_failure(error)}), trying for {left_s:.0f} s more")


def describe_failure(error: BaseException) -> str:
    """Why there is no answer, in a few words, without the request's long address."""
    details = getattr(error, "kwargs", None)
    url = details.get("endpoint_url") if isinstance(details, dict) else None
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return f"no answer in time{f' from {_shorten(url)}' if url else ''}"
    if url and "Connect" in type(error).__name__:
        return f"could not connect to {_shorten(url)}"
    return " ".join(str(error).split()) or type(error).__name__


def _shorten(url: object) -> str:
    parts = urlsplit(str(url))
    return f"{parts.scheme}://{parts.netloc}"
