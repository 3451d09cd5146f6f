"""Reads files with one record in each line, plain or compressed. Reports broken lines with file and line number.

Knows nothing about what a record means. Its parser does.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from rank1_batch.errors import BadFileError
from rank1_batch.storage.store import Store, ask

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd"}
"""File name endings, and Arrow's names of the compressions."""

LINES_TOLD, MOST_LINES = 10, 1000

LINE_BUFFER_BYTES = 1024 * 1024

BYTE_ORDER_MARK = "\ufeff"

T = TypeVar("T")


class WrongFormatError(ValueError):
    """The whole file is in another format, so its other lines need not be read."""


class BrokenLines:
    """Lines that could not be read: their number, and the first of them with file, line and reason.

    With `skip` they are no error: none is raised, however many there are.
    """

    def __init__(self, *, skip: bool = False) -> None:
        self.count = 0
        self.listed: list[str] = []
        self._skip = skip

    def add(self, where: str, place: str, reason: str) -> None:
        """Note a broken line. `place` is `line 7`, counted from 1. Raises BadFileError if there are too many."""
        self.count += 1
        if len(self.listed) < MOST_LINES:
            self.listed.append(f"{where}, {place}: {reason}")
        if self.count >= MOST_LINES and not self._skip:
            told = self.listed[:LINES_TOLD]
            raise BadFileError("\n".join([*told, f"… {self.count} broken lines so far; stopped reading"]))

    def check(self) -> None:
        """Raises BadFileError if any line was noted, and lists the first of them. With `skip` it never raises."""
        if self.count and not self._skip:
            told = self.listed[:LINES_TOLD]
            rest = [f"… {self.count} broken lines in all"] if self.count > len(told) else []
            raise BadFileError("\n".join([*told, *rest]))


def read_records(
    store: Store,
    path: str,
    parse: Callable[[str], T],
    broken: BrokenLines,
    skip: Callable[[str], bool] = lambda line: not line.strip(),
) -> Iterator[T]:
    """The result of `parse` for every line, without the lines for which `skip` is true (by default blank lines).

    A line that is not UTF-8, or for which `parse` raises ValueError, is noted in `broken` and left
    out. Call `broken.check()` at the end. Raises BadFileError if a file is not compressed as its name
    says, is incomplete, or is in another format altogether.
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
        except WrongFormatError as error:
            raise BadFileError(f"{where}: {error}") from error
        except ValueError as error:
            broken.add(where, f"line {number}", f"{error}{_hint_at_carriage_return(raw)}")
            continue
        yield record


def _hint_at_carriage_return(raw: bytes) -> str:
    inside = b"\r" in raw.rstrip(b"\r\n")
    return "; a carriage return stands inside the line, but lines must end in LF or CRLF" if inside else ""


def read_lines(store: Store, path: str) -> Iterator[bytes]:
    """The lines of a file, decompressed if its name says that it is compressed. Only a line feed ends a line."""
    with open_text(store, path) as file:
        try:
            yield from file
        except OSError as error:  # from decompression: errors of the store are StorageErrors by now
            raise BadFileError(f"{store.url}/{path}: {error}") from error


def open_text(store: Store, path: str) -> io.BufferedReader:
    """A file's decompressed bytes, from its start."""
    file = open_stream(store, path)
    kind = COMPRESSIONS.get(_find_end(path))
    if kind is None:
        return file
    # Arrow's reader accepts several members or frames in a row, and reports a last one that is incomplete.
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), kind), LINE_BUFFER_BYTES)


def open_stream(store: Store, path: str) -> io.BufferedReader:
    """A file's bytes from its start, fetched in small parts. A failed request is repeated like any other."""
    file = ask(store, path, lambda: store.fs.open(store.locate(path), "rb"))
    return io.BufferedReader(_Stream(store, path, file), LINE_BUFFER_BYTES)


def strip_compression(path: str) -> str:
    """A file's name without the ending of a compression."""
    return path[: len(path) - len(_find_end(path))]


def _find_end(path: str) -> str:
    """The ending of a compression, in small letters; empty if there is none."""
    return next((end for end in COMPRESSIONS if path.lower().endswith(end)), "")


class _Stream(io.RawIOBase):
    """A file of a store, in the form that Python's BufferedReader needs."""

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
