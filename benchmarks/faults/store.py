"""An S3 store in a folder, with conditional puts, whose user is sent a signal at one of its requests."""

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

ROOT_VARIABLE = "RANK1_BATCH_FAKE_S3"


class _Plan:
    """How many requests were made, and at which of them which signal is sent."""

    lock = threading.RLock()
    made = at = signal = 0


def send_signal_at(request: int, number: int) -> None:
    """Send this process a signal right before it makes this request (from 1) in its main thread. 0 sends none."""
    _Plan.at, _Plan.signal, _Plan.made = request, number, 0


def count_requests() -> int:
    """How many requests the main thread has made. Those of others come when they come, and are not counted."""
    return _Plan.made


class FolderS3(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types, so its class is Any to mypy
    """What s3fs is to S3: paths are bucket and key, and a put may have a condition."""

    protocol = ("s3", "s3a")
    cachable = False

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Of a file: size and ETag; of a prefix that holds any: that it is a folder."""
        with _request():
            return _describe(path)

    def find(self, path: str, *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        """All files below a prefix."""
        with _request():
            below = sorted(file for file in _locate(path).rglob("*") if file.is_file())
            names = [str(file.relative_to(_base())) for file in below]
            return {name: _describe(name) for name in names}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is a file, or one below."""
        with _request():
            return _locate(path).exists()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The content of a file, or a part of it."""
        with _request():
            return _locate(path).read_bytes()[start:end]

    def cat_ranges(
        self, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int], *_: Any, **__: Any
    ) -> list[Any]:
        """Parts of files. A file that is not there is an exception in its place."""
        with _request():
            return [_read_part(path, start, end) for path, start, end in zip(paths, starts, ends, strict=True)]

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """A file to read."""
        with _request():
            return _locate(path).open(mode)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", *_: Any, **options: Any) -> None:
        """Put a file in one step, if the condition holds."""
        wanted = options.get("IfMatch")
        with _request():
            found = _read_tag(path)
            if (mode == "create" and found) or (wanted is not None and wanted != found):
                raise _PreconditionFailedError(path)
            target = _locate(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = _base() / f".{os.urandom(8).hex()}"
            temporary.write_bytes(value)
            temporary.replace(target)

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        """Put a copy of a file of this machine."""
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm_file(self, path: str) -> None:
        """Remove a file; S3 does not say whether it was there."""
        with _request():
            _locate(path).unlink(missing_ok=True)


class _PreconditionFailedError(OSError):
    code = "PreconditionFailed"


@contextmanager
def _request() -> Iterator[None]:
    """One request at a time, of all processes. A process that is stopped holds nobody up."""
    with _Plan.lock:
        if threading.current_thread() is threading.main_thread():
            _Plan.made += 1
            if _Plan.made == _Plan.at:
                os.kill(os.getpid(), _Plan.signal)
        with (_base() / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _base() -> Path:
    return Path(os.environ[ROOT_VARIABLE])


def _locate(path: str) -> Path:
    return _base() / path.removeprefix("s3://").strip("/")


def _describe(path: str) -> dict[str, Any]:
    file, name = _locate(path), path.removeprefix("s3://").strip("/")
    if file.is_dir():
        return {"name": name, "size": 0, "type": "directory"}
    stat = file.stat()
    return {"name": name, "size": stat.st_size, "type": "file", "ETag": _read_tag(path), "LastModified": stat.st_mtime}


def _read_tag(path: str) -> str | None:
    file = _locate(path)
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() if file.is_file() else None


def _read_part(path: str, start: int, end: int) -> bytes | Exception:
    try:
        return _locate(path).read_bytes()[start:end]
    except FileNotFoundError as error:
        return error


def use_folder_as_s3(folder: Path) -> None:
    """From now on s3:// in this process, and those that it forks, is this folder."""
    os.environ[ROOT_VARIABLE] = str(folder)
    fsspec.register_implementation("s3", FolderS3, clobber=True)
