"""Files of one record a line, plain or compressed: records out, and broken lines told with their place.

Knows nothing about what a record means: its parser does.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from rank1_batch.errors import BadFileError
from rank1_batch.storage.store import Store, ask

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd"}
"""Ends of names, and what Arrow calls the compression."""

LINES_TOLD, MOST_LINES = 10, 1000

LINE_BUFFER_BYTES = 1024 * 1024

BYTE_ORDER_MARK = "\ufeff"

T = TypeVar("T")


class BrokenLines:
    """Lines that could not be read: how many there were, and the first of them with file, line and reason."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[str] = []

    def add(self, where: str, place: str, reason: str) -> None:
        """Note one; `place` is `line 7`, counted from 1. Raises BadFileError when there are too many to go on."""
        self.count += 1
        if len(self._told) < LINES_TOLD:
            self._told.append(f"{where}, {place}: {reason}")
        if self.count >= MOST_LINES:
            raise BadFileError("\n".join([*self._told, f"… {self.count} broken lines so far: not reading on"]))

    def check(self) -> None:
        """Raises BadFileError with what was noted, if anything was."""
        if self.count:
            rest = [f"… {self.count} broken lines in all"] if self.count > len(self._told) else []
            raise BadFileError("\n".join([*self._told, *rest]))


def read_records(
    store: Store,
    path: str,
    parse: Callable[[str], T],
    broken: BrokenLines,
    skip: Callable[[str], bool] = lambda line: not line.strip(),
) -> Iterator[T]:
    """What `parse` makes of every line but those that `skip` is true for (blank ones, if nothing is said).

    A line that is no UTF-8, or for which `parse` raises ValueError, is noted in `broken` and left
    out: call its `check` at the end. Raises BadFileError for a file that is not compressed as its
    name says, or is cut short.
    """
    where = f"{store.url}/{path}"
    for number, raw in enumerate(read_lines(store, path), 1):
        try:
            line = raw.decode()
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if skip(line):
                continue
            record = parse(line)
        except ValueError as error:
            broken.add(where, f"line {number}", str(error))
            continue
        yield record


def read_lines(store: Store, path: str) -> Iterator[bytes]:
    """The lines of a file, unpacked where its name ends as that of a compressed one. A line feed alone ends a line."""
    with open_text(store, path) as file:
        try:
            yield from file
        except OSError as error:  # those of the store are StorageErrors by now: this is the unpacking
            raise BadFileError(f"{store.url}/{path}: {error}") from error


def open_text(store: Store, path: str) -> io.BufferedReader:
    """A file's bytes as they were before it was compressed, from its start on."""
    file = open_stream(store, path)
    kind = next((kind for end, kind in COMPRESSIONS.items() if path.endswith(end)), None)
    if kind is None:
        return file
    # Arrow's reader takes several members or frames in a row, and says so where the last is cut short.
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), kind), LINE_BUFFER_BYTES)


def open_stream(store: Store, path: str) -> io.BufferedReader:
    """A file's bytes from its start on, fetched bit by bit. A request that fails is repeated as others are."""
    file = ask(store, path, lambda: store.fs.open(store.locate(path), "rb"))
    return io.BufferedReader(_Stream(store, path, file), LINE_BUFFER_BYTES)


def strip_compression(path: str) -> str:
    """The name that a file would have if it were not compressed."""
    end = next((end for end in COMPRESSIONS if path.endswith(end)), "")
    return path.removesuffix(end)


class _Stream(io.RawIOBase):
    """A file of a store as Python's own reader wants it."""

    def __init__(self, store: Store, path: str, file: Any) -> None:
        self._store, self._path, self._file = store, path, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = ask(self._store, self._path, lambda: self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
