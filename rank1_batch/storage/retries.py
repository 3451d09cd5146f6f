"""Repeats requests to a store while their failures are transient, with a limit and with jitter, and counts them.

One layer for all stores. Retries in the drivers below would multiply waits (s3fs 2026.9 sends a request up to 25
times, each with 15 s to answer), so they are reduced. Knows nothing about paths or this package's errors.
"""

import asyncio
import functools
import io
import os
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from rank1_batch.storage.trouble import say_waiting

set_on_retry_hooks(())  # its line, `stamina.retry_scheduled`, names neither the store nor the reason

TIMEOUT_VARIABLE = "RANK1_BATCH_STORE_TIMEOUT_S"

TIMEOUT_S = 200.0
"""Seconds after which a request that keeps failing is given up. The last try may take another 80."""

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 20.0
"""Seconds for one try to connect, and to be answered; less where the whole patience is shorter."""

SLOWEST_BYTES_PER_S = 256 * 1024
"""An upload that is slower than this counts as one without an answer."""

GCS_CHUNK_BYTES = 50 * 1024 * 1024
"""The most that gcsfs sends in one request."""

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

    def __init__(self, open_file: Callable[[], BinaryIO], where: str = "the store") -> None:
        self._where = where
        self._file = retry(open_file, where)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that are left."""
        return retry(lambda: self._file.read(size), self._where)

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


def retry(request: Callable[[], T], where: str = "the store") -> T:
    """The result of the request, repeated while its failures are transient. Raises its last failure.

    `where` names the store in the line that says that it does not answer.
    """
    start, limit_s = time.monotonic(), timeout_s()

    def may_repeat(error: Exception) -> bool:
        transient = is_transient(error)
        if transient:
            waited_s = time.monotonic() - start
            say_waiting(where, error, waited_s, limit_s - waited_s)
        return transient

    for attempt in stamina.retry_context(
        may_repeat, attempts=None, timeout=limit_s, wait_initial=0.5, wait_max=15.0, wait_jitter=1.0
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
    connect_s, read_s = _try_limits_s()
    config = {"connect_timeout": connect_s, "read_timeout": read_s, "retries": limits}
    return {"config_kwargs": {**config, "http_session_cls": _session_with_limits()}, "session": _counting_session()}


def gcs_options() -> dict[str, Any]:
    """Arguments of gcsfs: how long one try takes. It repeats a try up to five times by itself (2026.10)."""
    import aiohttp

    connect_s, read_s = _try_limits_s()
    total_s = upload_limit_s(GCS_CHUNK_BYTES)
    return {"requests_timeout": aiohttp.ClientTimeout(total=total_s, sock_connect=connect_s, sock_read=read_s)}


def upload_limit_s(size_bytes: int) -> float:
    """Seconds within which an upload of this size has to be answered."""
    return sum(_try_limits_s()) + size_bytes / SLOWEST_BYTES_PER_S


def _try_limits_s() -> tuple[float, float]:
    return min(CONNECT_TIMEOUT_S, timeout_s()), min(READ_TIMEOUT_S, timeout_s())


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed later: no answer, or an answer that says so."""
    module, name = type(error).__module__, type(error).__name__
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if module.startswith(("botocore", "aiobotocore", "aiohttp")) and name != "ClientError":
        return name not in PERMANENT
    if module.startswith(("httpx", "httpcore")):  # what the driver of hf:// lets through
        return True
    if module.startswith(("requests", "google.auth")):  # what gcsfs lets through; google.auth says which it is
        return bool(getattr(error, "retryable", True))
    return error_code(error) in TRANSIENT_CODES or "SlowDown" in str(error)


def is_silent(error: BaseException) -> bool:
    """Whether there was no answer at all."""
    return is_transient(error) and not error_code(error) and "SlowDown" not in str(error)


def error_code(error: BaseException) -> str:
    """The code of an S3 error, also of one that s3fs translated, or of gcsfs's; empty where there is none."""
    response = getattr(error.__cause__ or error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "code", None) or "")


@functools.cache
def _session_with_limits() -> type[Any]:
    """The HTTP session of aiobotocore, with a limit for each upload.

    aiohttp (3.14) starts its read timeout when the body is written. With `Expect: 100-continue`, as botocore sends an
    upload, a server that never answers keeps the body from being written.
    """
    from aiobotocore.httpsession import AIOHTTPSession
    from botocore.exceptions import ReadTimeoutError

    class SessionWithLimits(AIOHTTPSession):  # type: ignore[misc]
        async def send(self, request: Any) -> Any:
            size_bytes = int(request.headers.get("Content-Length") or 0)
            try:
                # Other requests may wait long for a free connection, and have the read timeout.
                async with asyncio.timeout(upload_limit_s(size_bytes) if size_bytes else None):
                    return await super().send(request)
            except TimeoutError as error:
                raise ReadTimeoutError(endpoint_url=request.url, error=error) from error

    return SessionWithLimits


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
