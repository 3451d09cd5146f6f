"""Files under one URL, on disk or in an object store, through fsspec.

Writes are atomic: an object is there whole or not at all. Credentials come from the environment or
the store's usual files, never from our settings. Knows nothing about Parquet.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import fsspec
import stamina
from fsspec.implementations.local import LocalFileSystem

from rank1_batch.errors import SettingsError, StorageError

MISSING_EXTRAS = {"gs": "gcs", "gcs": "gcs"}
"""Protocols whose fsspec driver comes with one of this package's extras."""

ATTEMPTS = 6
"""Tries of one request before a store counts as gone; s3fs has retried each of them 5 times before."""


class FileInfo(NamedTuple):
    """A stored file: its path below the root, its size, and what changes when its content does."""

    path: str
    size_bytes: int
    identity: str


class Store(NamedTuple):
    """A place for files. `root` has no protocol and no trailing slash; paths are relative to it."""

    fs: fsspec.AbstractFileSystem
    root: str
    url: str

    def locate(self, path: str) -> str:
        """The path as the file system knows it."""
        return f"{self.root}/{path}" if path else self.root


def open_store(url: str) -> Store:
    """The store behind a URL or a local path. Raises SettingsError for a protocol we cannot serve."""
    protocol = url.partition("://")[0] if "://" in url else "file"
    # s3fs keeps listings: without this, files put by another process stay unseen.
    options = {} if protocol == "file" else {"use_listings_cache": False}
    try:
        fs, root = fsspec.core.url_to_fs(str(Path(url).expanduser()) if protocol == "file" else url, **options)
    except (ImportError, ValueError) as error:
        extra = MISSING_EXTRAS.get(protocol)
        hint = f": install rank1-batch[{extra}]" if extra else ""
        raise SettingsError([f"{url}: cannot open {protocol}:// paths{hint} ({error})"]) from error
    return Store(fs, str(root).rstrip("/"), url.rstrip("/"))


def list_files(store: Store, folder: str = "") -> list[FileInfo]:
    """All files below a folder, by path; none if the folder does not exist."""
    with _errors(store, folder):
        for attempt in _attempts():
            with attempt:
                found = store.fs.find(store.locate(folder), detail=True)
        return _file_infos(store, found.values())


def find_files(url: str) -> tuple[Store, list[FileInfo]]:
    """The files that a file, folder or glob names, by path, and the folder they are relative to.

    Raises SettingsError where there is no such file or folder.
    """
    store = open_store(url)
    with _errors(store, ""):
        for attempt in _attempts():
            with attempt:
                base, found = _find(store.fs, store.root)
    local = isinstance(store.fs, LocalFileSystem)
    folder = Store(store.fs, base, base if local else str(store.fs.unstrip_protocol(base)))
    return folder, _file_infos(folder, found)


def stat_file(store: Store, path: str) -> FileInfo | None:
    """What is known about one file; None where there is none."""
    with _errors(store, path):
        for attempt in _attempts():
            with attempt:
                try:
                    return _file_infos(store, [store.fs.info(store.locate(path))])[0]
                except FileNotFoundError:
                    return None
    return None


def read_bytes(store: Store, path: str) -> bytes | None:
    """A file's content; None where there is no such file."""
    with _errors(store, path):
        for attempt in _attempts():
            with attempt:
                try:
                    return bytes(store.fs.cat_file(store.locate(path)))
                except FileNotFoundError:
                    return None
    return None


def read_ranges(store: Store, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | Exception]:
    """Bytes `start` to `stop` of each (path, start, stop), all at once; an exception where one failed."""
    paths, starts, stops = zip(*((store.locate(p), a, b) for p, a, b in ranges), strict=True)
    with _errors(store, ""):
        return list(store.fs.cat_ranges(list(paths), list(starts), list(stops), on_error="return"))


def write_bytes(store: Store, path: str, data: bytes) -> None:
    """Put a file, in place of one that may be there."""
    with _errors(store, path):
        for attempt in _attempts():
            with attempt:
                if isinstance(store.fs, LocalFileSystem):
                    with _temporary_file(store.locate(path), data) as temporary:
                        os.replace(temporary, store.locate(path))
                else:
                    store.fs.pipe_file(store.locate(path), data)


def create_bytes(store: Store, path: str, data: bytes) -> bool:
    """Put a file unless there is one: True if this call made it. The first of several callers wins.

    An object store that ignores `If-None-Match` lets the last one win; the file is whole either way.
    """
    with _errors(store, path):
        for attempt in _attempts():
            with attempt:
                try:
                    _create(store, path, data)
                except FileExistsError:
                    return False
    return True


def delete_file(store: Store, path: str) -> None:
    """Remove a file, if it is there."""
    with _errors(store, path), contextlib.suppress(FileNotFoundError):
        store.fs.rm_file(store.locate(path))


def _find(fs: fsspec.AbstractFileSystem, path: str) -> tuple[str, list[dict]]:
    """The folder of the search, and what was found in it."""
    wildcard = next((i for i, char in enumerate(path) if char in "*?["), None)
    if wildcard is not None:
        found = fs.glob(path, detail=True).values()
        return path[:wildcard].rpartition("/")[0], [info for info in found if info["type"] == "file"]
    info = fs.info(path)
    if info["type"] == "file":
        return path.rpartition("/")[0], [info]
    return path, list(fs.find(path, detail=True).values())


def _file_infos(store: Store, found: Iterable[dict]) -> list[FileInfo]:
    start = len(store.root) + 1
    infos = (FileInfo(str(info["name"])[start:], int(info["size"] or 0), _identity(info)) for info in found)
    # Some writers leave `folder/` marker objects behind.
    return sorted(info for info in infos if info.path and not info.path.endswith("/"))


def _identity(info: dict) -> str:
    """An object store's own fingerprint of the content; size and time of change where it has none."""
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    return str(tag).strip('"') if tag else f"{info['size']}-{info.get('mtime') or info.get('created')}"


def _create(store: Store, path: str, data: bytes) -> None:
    if not isinstance(store.fs, LocalFileSystem):
        store.fs.pipe_file(store.locate(path), data, mode="create")
        return
    with _temporary_file(store.locate(path), data) as temporary:
        os.link(temporary, store.locate(path))


@contextlib.contextmanager
def _temporary_file(path: str, data: bytes) -> Iterator[str]:
    """A synced file with this content beside `path`, on the same disk; gone afterwards."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{Path(path).name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def _attempts() -> stamina.RetryingCaller:
    return stamina.retry_context(on=_is_transient, attempts=ATTEMPTS, timeout=300.0, wait_initial=0.5, wait_max=30.0)


def _is_transient(error: Exception) -> bool:
    """Whether the same request may well succeed later: no answer, or an answer that says so."""
    module, name = type(error).__module__, type(error).__name__
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if module.startswith("botocore"):
        return name not in ("NoCredentialsError", "ParamValidationError", "PartialCredentialsError", "ProfileNotFound")
    return module.startswith("aiohttp") or "SlowDown" in str(error)


@contextlib.contextmanager
def _errors(store: Store, path: str) -> Iterator[None]:
    """Turns what a store raises into our errors, with the place in the message."""
    where = f"{store.url}/{path}" if path else store.url
    try:
        yield
    except FileNotFoundError as error:
        raise SettingsError([f"{where}: there is no such file, folder or bucket"]) from error
    except PermissionError as error:
        raise SettingsError([f"{where}: no permission ({error})"]) from error
    except OSError as error:
        raise StorageError(f"{where}: {error or type(error).__name__}") from error
    except Exception as error:
        # botocore's and aiohttp's errors share no base class but Exception; all others are bugs.
        if not type(error).__module__.startswith(("botocore", "aiobotocore", "aiohttp")):
            raise
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            raise SettingsError([f"{where}: no credentials found ({error})"]) from error
        raise StorageError(f"{where}: {error}") from error
