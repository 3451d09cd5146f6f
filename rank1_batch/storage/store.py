"""Files under one URL, on disk or in an object store, through fsspec.

Writes are atomic: an object is there whole or not at all. Credentials come from the environment or
the store's usual files, never from our settings. Knows nothing about Parquet.
"""

import contextlib
import datetime as dt
import errno
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from rank1_batch.errors import AccessError, RefusedError, SettingsError, StorageError
from rank1_batch.storage.contact import make_contact
from rank1_batch.storage.retries import (
    PatientFile,
    count_retries,
    error_code,
    gcs_options,
    is_silent,
    is_transient,
    retry,
    s3_options,
)
from rank1_batch.storage.trouble import describe_failure

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a traceback of each error that it raises

DRIVERS = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google.auth", "httpx", "httpcore", "huggingface_hub")
"""Packages below fsspec whose errors come through it as they are."""

NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")

S3_PROTOCOLS, GCS_PROTOCOLS = ("s3", "s3a"), ("gs", "gcs")

NO_LINK = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""How file systems say that they have no hard links."""

FINGERPRINTS = ("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "blob_id", "sha")
"""What stores call a value that changes with a file's content: S3, Google, HTTP, Hugging Face, GitHub."""

TIMES = ("mtime", "created", "LastModified", "last_modified", "Last-Modified", "updated")
"""What stores call the time of a file's last change."""

UNKNOWN = "-None"
"""The end of the identity of a file of which a store knows the size alone."""

T = TypeVar("T")

Info = dict[str, Any]
"""What fsspec says about a file: its name, size, type, and things that differ between stores."""


class FileInfo(NamedTuple):
    """A stored file: its path below the root, its size, and what changes when its content does.

    `modified_at` is in seconds since 1970 by the store's clock; None where the store does not say.
    """

    path: str
    size_bytes: int
    identity: str
    modified_at: float | None = None


class Store(NamedTuple):
    """A place for files. `root` has no protocol and no trailing slash; paths are relative to it.

    `url` opens the same place from any working directory.
    """

    fs: fsspec.AbstractFileSystem
    root: str
    url: str

    def locate(self, path: str) -> str:
        """The path as the file system knows it."""
        return f"{self.root}/{path}" if path else self.root


def absolute_url(url: str) -> str:
    """A URL as it is; a local path from the root, since other processes have other current folders."""
    return url if "://" in url else os.path.normpath(Path(url).expanduser().absolute())


def open_store(url: str) -> Store:
    """The store behind a URL or a local path. Raises SettingsError for a protocol we cannot serve."""
    url = absolute_url(url)
    protocol = url.partition("://")[0] if "://" in url else "file"
    try:
        fs, root = fsspec.core.url_to_fs(url, **_driver_options(protocol))
    except ImportError as error:
        missing = "Install rank1-batch[gcs]." if protocol in GCS_PROTOCOLS else f"{error}."
        raise SettingsError([f"{url}: a package for {protocol}:// paths is missing. {missing}"]) from error
    except ValueError as error:
        hint = "Use a path on disk, s3://…, gs://… or another protocol of fsspec."
        raise SettingsError([f"{url}: cannot open {protocol}:// paths ({error}). {hint}"]) from error
    if protocol in S3_PROTOCOLS:
        fs.retries = 1  # s3fs's own tries have no jitter, and would not be counted
    root = str(root).rstrip("/")
    return Store(fs, root, root if isinstance(fs, LocalFileSystem) else url.rstrip("/"))


def is_local(store: Store) -> bool:
    """Whether the files are on a disk of this machine, or one that looks so."""
    return isinstance(store.fs, LocalFileSystem)


def _driver_options(protocol: str) -> dict[str, Any]:
    """Arguments of a protocol's driver."""
    if protocol == "file":
        return {}
    own = s3_options() if protocol in S3_PROTOCOLS else gcs_options() if protocol in GCS_PROTOCOLS else {}
    # s3fs keeps listings: without this, files put by another process stay unseen.
    return {"use_listings_cache": False, **own}


def ask(store: Store, path: str, request: Callable[[], T]) -> T:
    """The answer to a request. Transient failures are retried for 200 s (`retries.TIMEOUT_S`)."""
    with store_errors(store, path):
        if not isinstance(store.fs, LocalFileSystem):
            make_contact(store.fs, store.url, store.root)
        return retry(request, store.url)


def open_file(store: Store, path: str) -> BinaryIO | pa.NativeFile:
    """An open file that is read bit by bit. Raises what the store's driver raises: see `store_errors`.

    One on disk is Arrow's own: its threads then read without the interpreter's lock.
    """
    if isinstance(store.fs, LocalFileSystem):
        return pa.OSFile(store.locate(path))
    return cast(BinaryIO, PatientFile(lambda: store.fs.open(store.locate(path), "rb", cache_type="none"), store.url))


def list_files(store: Store, folder: str = "") -> list[FileInfo]:
    """All files below a folder, by path; none if the folder does not exist."""
    found = ask(store, folder, lambda: store.fs.find(store.locate(folder), detail=True))
    return _file_infos(store, found.values())


def find_files(url: str) -> tuple[Store, list[FileInfo]]:
    """The files that a file, folder or glob names, by path, and the folder they are relative to.

    Raises SettingsError where there is no such file or folder.
    """
    store = open_store(url)
    base, found = ask(store, "", lambda: _find(store.fs, store.root))
    local = isinstance(store.fs, LocalFileSystem)
    folder = Store(store.fs, base, base if local else str(store.fs.unstrip_protocol(base)))
    return folder, _file_infos(folder, found)


def stat_file(store: Store, path: str) -> FileInfo | None:
    """What is known about one file; None where there is none."""
    info = ask(store, path, lambda: _or_none(store.fs.info, store.locate(path)))
    return None if info is None else _file_infos(store, [info])[0]


def read_bytes(store: Store, path: str) -> bytes | None:
    """A file's content; None where there is no such file."""
    return ask(store, path, lambda: _or_none(store.fs.cat_file, store.locate(path)))


def read_ranges(store: Store, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | Exception]:
    """Bytes `start` to `stop` of each (path, start, stop), all at once; an exception where one failed."""
    found: dict[tuple[str, int, int], bytes | Exception] = {}

    def read_missing() -> None:
        missing = [wanted for wanted in ranges if wanted not in found]
        paths, starts, stops = ([*column] for column in zip(*missing, strict=True))
        located = [store.locate(path) for path in paths]
        answers = dict(zip(missing, store.fs.cat_ranges(located, starts, stops, on_error="return"), strict=True))
        lost = {wanted: a for wanted, a in answers.items() if isinstance(a, Exception) and is_transient(a)}
        found.update((wanted, answer) for wanted, answer in answers.items() if wanted not in lost)
        if lost:
            raise next(iter(lost.values()))

    ask(store, "", read_missing)
    return [found[wanted] for wanted in ranges]


def write_bytes(store: Store, path: str, data: bytes) -> None:
    """Put a file, in place of one that may be there."""
    if not isinstance(store.fs, LocalFileSystem):
        ask(store, path, lambda: store.fs.pipe_file(store.locate(path), data))
        return
    with store_errors(store, path), _temporary_file(store.locate(path), io.BytesIO(data)) as temporary:
        temporary.replace(store.locate(path))


def write_file(store: Store, path: str, source: Path) -> None:
    """Put a copy of a file of this machine, never held in memory, in place of one that may be there."""
    if not isinstance(store.fs, LocalFileSystem):
        ask(store, path, lambda: store.fs.put_file(str(source), store.locate(path)))
        return
    with source.open("rb") as file, store_errors(store, path), _temporary_file(store.locate(path), file) as temporary:
        temporary.replace(store.locate(path))


def create_bytes(store: Store, path: str, data: bytes) -> bool:
    """Put a file unless there is one: True if this call made it. The first of several callers wins.

    An object store that ignores `If-None-Match` lets the last one win, and so does a file system without
    hard links where two callers come within a moment. The file is whole either way.
    """
    before = count_retries()
    try:
        if not isinstance(store.fs, LocalFileSystem):
            ask(store, path, lambda: _create(store, path, data))
            return True
        with store_errors(store, path), _temporary_file(store.locate(path), io.BytesIO(data)) as temporary:
            _link_or_rename(temporary, Path(store.locate(path)))
    except FileExistsError:
        # An earlier try may have been done, and only its answer lost.
        return count_retries() > before and read_bytes(store, path) == data
    return True


def _link_or_rename(temporary: Path, path: Path) -> None:
    """Give a file its name. Raises FileExistsError where another file has it."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        # Some file systems of FUSE and NFS have no hard links. A rename is as whole, but would take another's place.
        if path.exists():
            raise FileExistsError(path) from error
        temporary.rename(path)


def replace_bytes(store: Store, path: str, data: bytes, identity: str) -> bool:
    """Put a file in place of the one with this identity: False where it is another one by now, or gone.

    S3 compares and puts in one step (`If-Match`). Elsewhere the file is looked at right before it is replaced.
    """
    before = count_retries()
    try:
        if _is_s3(store):
            # Ceph wants the tag without quotes, and others take it so.
            ask(store, path, lambda: _replace_on_s3(store, path, data, identity))
            return True
    except FileExistsError:
        # An earlier try may have been done, and only its answer lost.
        return count_retries() > before and read_bytes(store, path) == data
    found = stat_file(store, path)
    if found is None or found.identity != identity:
        return False
    write_bytes(store, path, data)
    return True


def put_over(store: Store, path: str, data: bytes, seen: Mapping[str, str]) -> None:
    """Put a file in place of the one that was seen, by its path and identity, or a new one where none was seen.

    Raises RefusedError where another run has put another file there since.
    """
    done = replace_bytes(store, path, data, seen[path]) if path in seen else create_bytes(store, path, data)
    if not done and read_bytes(store, path) != data:
        raise RefusedError(f"{store.url}/{path}: another run wrote this file meanwhile. This run stops.")


def see_files(store: Store, paths: Iterable[str]) -> dict[str, str]:
    """Identities of those of these files that are there, by path: what a later `put_over` may replace."""
    found = (stat_file(store, path) for path in paths)
    return {file.path: file.identity for file in found if file}


def delete_file(store: Store, path: str) -> None:
    """Remove a file, if it is there."""
    ask(store, path, lambda: _or_none(store.fs.rm_file, store.locate(path)))


def _create(store: Store, path: str, data: bytes) -> None:
    # In one request: Ceph ignores the condition where an upload of several parts is completed.
    whole = {"chunksize": len(data) + 1} if _is_s3(store) else {}
    try:
        store.fs.pipe_file(store.locate(path), data, mode="create", **whole)
    except OSError as error:
        # s3fs (2026.9) has no error of its own for "there is one already": it says EINVAL.
        if error_code(error) == "PreconditionFailed":
            raise FileExistsError(path) from error
        raise


def _replace_on_s3(store: Store, path: str, data: bytes, identity: str) -> None:
    """Raises FileExistsError where another file is there by now, or none."""
    try:
        store.fs.pipe_file(store.locate(path), data, chunksize=len(data) + 1, IfMatch=identity)
    except FileNotFoundError as error:
        raise FileExistsError(path) from error
    except OSError as error:
        if error_code(error) == "PreconditionFailed":
            raise FileExistsError(path) from error
        raise


def _is_s3(store: Store) -> bool:
    return any(protocol in S3_PROTOCOLS for protocol in (store.fs.protocol, *store.fs.protocol))


def _find(fs: fsspec.AbstractFileSystem, path: str) -> tuple[str, list[Info]]:
    """The folder of the search, and what was found in it."""
    wildcard = next((i for i, char in enumerate(path) if char in "*?["), None)
    # A folder may have brackets in its own name.
    if wildcard is not None and not fs.exists(path):
        found = fs.glob(path, detail=True).values()
        return path[:wildcard].rpartition("/")[0], [info for info in found if info["type"] == "file"]
    info = fs.info(path)
    if info["type"] == "file":
        return path.rpartition("/")[0], [info]
    return path, list(fs.find(path, detail=True).values())


def _file_infos(store: Store, found: Iterable[Info]) -> list[FileInfo]:
    start = len(store.root) + 1
    # Some writers leave `folder/` marker objects behind, and a listing can hold the folder itself.
    files = (info for info in found if info["type"] == "file" and not info["name"].endswith("/"))
    return sorted(
        FileInfo(str(info["name"])[start:], int(info["size"] or 0), _identity(info), _modified_at(info))
        for info in files
    )


def _identity(info: Info) -> str:
    """An object store's own fingerprint of the content; size and time of change where it has none."""
    tag = next((info[name] for name in FINGERPRINTS if info.get(name)), None)
    if tag is not None:
        return str(tag).strip('"')
    time = next((info[name] for name in TIMES if info.get(name)), None)
    return f"{info['size']}{UNKNOWN if time is None else f'-{time}'}"


def is_identified(identity: str) -> bool:
    """Whether another file of the same size would have another identity."""
    return not identity.endswith(UNKNOWN)


def _modified_at(info: Info) -> float | None:
    """The time of the last change, under the name that each store has for it."""
    found = info.get("LastModified") or info.get("mtime") or info.get("updated")
    if isinstance(found, str):
        found = dt.datetime.fromisoformat(found)
    return found.timestamp() if isinstance(found, dt.datetime) else found


@contextlib.contextmanager
def _temporary_file(path: str, content: BinaryIO) -> Iterator[Path]:
    """A synced file with this content beside `path`, on the same disk; gone afterwards."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{folder}/.{Path(path).name}.{os.urandom(8).hex()}"
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _or_none(request: Callable[[str], T], path: str) -> T | None:
    try:
        return request(path)
    except (FileNotFoundError, NotADirectoryError):  # the latter where a file lies on the way
        return None


@contextlib.contextmanager
def store_errors(store: Store, path: str) -> Iterator[None]:
    """Turns what a store raises into our errors, with the place in the message."""
    where = f"{store.url}/{path}" if path else store.url
    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        raise AccessError([f"{where}: there is no such file, folder or bucket"]) from error
    except PermissionError as error:
        raise _no_permission(store, where, error) from error
    except OSError as error:
        if error.errno == errno.EROFS or str(error).startswith("Forbidden"):  # as gcsfs tells a 403
            raise _no_permission(store, where, error) from error
        raise _failure(where, error, repr(error)) from error
    except Exception as error:  # the drivers' have no other base in common, and take 0.4 s to import
        if not type(error).__module__.startswith(DRIVERS):
            raise
        raise _client_error(store, where, error) from error


def _client_error(store: Store, where: str, error: Exception) -> Exception:
    if type(error).__name__ in NO_CREDENTIALS:
        return AccessError([f"{where}: no credentials found ({error}). {_advise_login(store)}"])
    if error_code(error) == "401":
        return _no_permission(store, where, error)
    return _failure(where, error, str(error))


def _failure(where: str, error: Exception, text: str) -> StorageError:
    if is_silent(error):
        return StorageError(f"{where} does not answer ({describe_failure(error)})")
    return StorageError(f"{where}: {text}")


def _no_permission(store: Store, where: str, error: Exception) -> AccessError:
    """Without credentials gcsfs asks as nobody, and Google's answer says so ("Anonymous caller does not have …")."""
    reason = " ".join(str(error).split())
    hint = f". {_advise_login(store)}" if "Anonymous caller" in reason else ""
    return AccessError([f"{where}: no permission ({reason}){hint}"])


def _advise_login(store: Store) -> str:
    """Where a store's driver looks for credentials."""
    if _is_s3(store):
        return "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
    return "Set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login."
