"""Repeats requests to a store while their failures are transient, with a limit and with jitter, and counts them.

One layer for all stores. Retries in the drivers below would multiply waits (s3fs 2026.9 sends a request up to 25
times, each with 15 s to answer), so they are reduced. Knows nothing about paths or this package's errors.
"""

import functools
import io
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import stamina

TIMEOUT_VARIABLE = "RANK1_BATCH_STORE_TIMEOUT_S"

TIMEOUT_S = 200.0
"""Seconds after which a request that keeps failing is given up. The last try may take another 80."""

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 20

S3_ATTEMPTS = 3
"""Tries of one HTTP request inside botocore, with jitter: a listing of many pages goes on at the page that failed."""

TRANSIENT_CODES = {
    "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "ConditionalRequestConflict",
    "408", "429", "500", "502", "503", "504",
}  # fmt: skip
"""Codes with which a server asks for another try: S3's, or the status, of which GCS has no other."""

PERMANENT = ("NoCredentialsError", "ParamValidationError", "PartialCredentialsError", "ProfileNotFound")
"""Errors of botocore that another try does not fix. Its other errors are about the connection."""

T = TypeVar("T")


class PatientFile(io.RawIOBase):
    """A file of an object store. Each read is repeated by itself: what was read before is not read again."""

    def __init__(self, open_file: Callable[[], BinaryIO]) -> None:
        self._file = retry(open_file)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that are left."""
        return retry(lambda: self._file.read(size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place in the file. Sends no request."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


class _Count:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0

    def add_one(self) -> None:
        with self._lock:
            self.total += 1


_retries = _Count()


def retry(request: Callable[[], T]) -> T:
    """The result of the request, repeated while its failures are transient. Raises its last failure."""
    for attempt in stamina.retry_context(
        is_transient, attempts=None, timeout=timeout_s(), wait_initial=0.5, wait_max=15.0, wait_jitter=1.0
    ):
        with attempt:
            if attempt.num > 1:
                _retries.add_one()
            return request()
    raise AssertionError("a failure ends the loop")


def count_retries() -> int:
    """Requests that this process has repeated so far, in this module and in botocore below s3fs."""
    return _retries.total


def timeout_s() -> float:
    """Seconds after which a store counts as failed. The environment variable TIMEOUT_VARIABLE can change it."""
    return float(os.environ.get(TIMEOUT_VARIABLE) or TIMEOUT_S)


def s3_options() -> dict[str, Any]:
    """Arguments of s3fs: how long one try takes, and who repeats it."""
    limits = {"mode": "standard", "total_max_attempts": S3_ATTEMPTS}
    config = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S, "retries": limits}
    return {"config_kwargs": config, "session": _counting_session()}


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed later: no answer, or an answer that says so."""
    module, name = type(error).__module__, type(error).__name__
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if module.startswith(("botocore", "aiobotocore", "aiohttp")) and name != "ClientError":
        return name not in PERMANENT
    if module.startswith(("requests", "google.auth")):  # what gcsfs lets through; google.auth says which it is
        return bool(getattr(error, "retryable", True))
    return error_code(error) in TRANSIENT_CODES or "SlowDown" in str(error)


def error_code(error: BaseException) -> str:
    """The code of an S3 error, also of one that s3fs translated, or of gcsfs's; empty where there is none."""
    response = getattr(error.__cause__ or error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "code", None) or "")


@functools.cache
def _counting_session() -> Any:
    """A session of botocore, made when it is first needed, since it does not survive a fork."""
    import aiobotocore.session

    session = aiobotocore.session.AioSession()
    session.register("request-created.s3", _count_resent)
    return session


def _count_resent(request: Any, **_: object) -> None:
    """Called by botocore for every HTTP request that it makes, also for one that it makes again."""
    if request.context.get("retries", {}).get("attempt", 1) > 1:
        _retries.add_one()
