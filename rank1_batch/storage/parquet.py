"""Reads Parquet files by rows: footers without opening files, and ranges of rows in bounded memory.

Knows nothing about what the columns mean.
"""

import io
import itertools
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rank1_batch.errors import BadFileError
from rank1_batch.storage.store import FileInfo, Store, open_file, read_ranges, store_errors

FOOTER_BYTES = 64 * 1024

TRAILER_BYTES = 8
"""The last bytes of a Parquet file: the length of its footer, and `PAR1`."""

FETCH_FILES = 128

STREAM_BYTES = 32 * 1024 * 1024
"""Row groups larger than this are streamed instead of being read whole."""

BUFFER_BYTES = 4 * 1024 * 1024

BATCH_ROWS = 1024

PARALLEL_READS, READ_AHEAD = 8, 32

T = TypeVar("T")

U = TypeVar("U")


def read_footers(store: Store, files: Sequence[FileInfo]) -> Iterator[pq.FileMetaData | BadFileError]:
    """The footer of each file, in order, or an error that names the file if it has none.

    Many footers are fetched at once, but only one such group is held: each takes some 36 kB.
    """
    for start in range(0, len(files), FETCH_FILES):
        yield from _read_some_footers(store, files[start : start + FETCH_FILES])


def open_parquet(store: Store, path: str, *, stream: bool = False) -> pq.ParquetFile:
    """An open file. With `stream` its column chunks are read in small parts, not whole."""

    def open_parquet_file() -> pq.ParquetFile:
        return pq.ParquetFile(open_file(store, path), pre_buffer=not stream, buffer_size=BUFFER_BYTES if stream else 0)

    return read_or_blame(store, path, open_parquet_file)


def read_or_blame(store: Store, path: str, read: Callable[[], T], what: str = "") -> T:
    """What `read` returns. Raises BadFileError if the file is at fault, StorageError if the store is."""
    with store_errors(store, path):
        try:
            return read()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, FileNotFoundError) as error:
            raise BadFileError(f"{store.url}/{path}: {what}{error}") from error
        except OSError as error:
            # Arrow says that content is damaged with a bare OSError; those of stores have a number or a class.
            # s3fs raises FileExpired where the object is no longer the one that was opened.
            bare = type(error) is OSError and error.errno is None
            if not bare and type(error).__name__ != "FileExpired":
                raise
            raise BadFileError(f"{store.url}/{path}: {what}{error}") from error


def read_query_ends(store: Store, path: str, column: str) -> Iterator[int]:
    """The ascending row numbers at which a run of equal values of `column` ends, while the file is read."""
    last, row = None, 0
    for batch in read_batches(store, path, [column]):
        values = _plain(batch.column(0))
        if not len(values):
            continue
        if row and values[0].as_py() != last:
            yield row
        for end in pc.run_end_encode(values).run_ends.to_pylist()[:-1]:
            yield row + end
        row += len(values)
        last = values[-1].as_py()
    if row:
        yield row


def read_list_sizes(store: Store, path: str, column: str) -> Iterator[int]:
    """The number of items of each row's list; 0 where it is null. Reads one leaf of the lists."""
    schema = open_parquet(store, path).schema
    leaf = next(schema.column(i).path for i in range(len(schema)) if schema.column(i).path.startswith(f"{column}."))
    for batch in read_batches(store, path, [leaf]):
        for size in pc.list_value_length(batch.column(0)).to_pylist():
            yield size or 0


def read_batches(store: Store, path: str, columns: list[str], rows: int = 16 * 1024) -> Iterator[pa.RecordBatch]:
    """The file's rows from the first on, at most so many at a time."""
    batches = open_parquet(store, path, stream=True).iter_batches(rows, columns=columns)
    while (batch := read_or_blame(store, path, lambda: next(batches, None))) is not None:
        yield batch


def read_tables(store: Store, paths: Iterable[str], columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of each file, in order. A few files are read before they are asked for, several at once."""

    def read(path: str) -> pa.Table:
        return read_or_blame(store, path, lambda: open_parquet(store, path).read(columns=list(columns)))

    return read_ahead(read, paths)


def read_ahead(read: Callable[[T], U], items: Iterable[T], most: int = READ_AHEAD) -> Iterator[U]:
    """What `read` gives for each item, in order. Up to `most` are read before they are asked for, several at once."""
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        ahead: deque[Future[U]] = deque()
        for item in items:
            if len(ahead) == most:
                yield ahead.popleft().result()
            ahead.append(pool.submit(read, item))
        while ahead:
            yield ahead.popleft().result()


class RowReader:
    """Reads runs of rows of one file, for several threads.

    Runs that come in ascending order cost one pass over the file, also inside a huge row group, of
    which no more than a few batches are held.
    """

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._lock = threading.Lock()
        self._file = open_parquet(store, path)
        self._starts = _row_group_starts(self._file.metadata)
        self._cursor: _Cursor | None = None

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        return self._file.schema_arrow

    def read(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """Rows `start` to `stop` (excluded). Raises BadFileError where they cannot be read."""
        with self._lock:
            return read_or_blame(
                self._store,
                self._path,
                lambda: pa.concat_tables(self._read(start, stop, list(columns))),
                what=f"the file is damaged, rows {start} to {stop} cannot be read: ",
            )

    def _read(self, start: int, stop: int, columns: list[str]) -> list[pa.Table]:
        """The run in pieces: row groups that lie in it whole at once, parts of others by a cursor."""
        pieces: list[pa.Table] = []
        whole: list[int] = []
        for group, (first, end) in enumerate(itertools.pairwise(self._starts)):
            if start <= first and end <= stop:
                whole.append(group)
            elif first < stop and start < end:
                pieces += self._read_groups(whole, columns)
                whole = []
                pieces.append(self._read_part(group, max(start, first) - first, min(stop, end) - first, columns))
        return [*pieces, *self._read_groups(whole, columns)]

    def _read_groups(self, groups: list[int], columns: list[str]) -> list[pa.Table]:
        return [self._file.read_row_groups(groups, columns=columns)] if groups else []

    def _read_part(self, group: int, start: int, stop: int, columns: list[str]) -> pa.Table:
        """Rows of one row group, counted from its first."""
        cursor, self._cursor = self._cursor, None  # one that fails cannot go on
        if cursor is None or not cursor.can_reach(group, start, columns):
            large = self._file.metadata.row_group(group).total_byte_size > STREAM_BYTES
            file = open_parquet(self._store, self._path, stream=True) if large else self._file
            cursor = _Cursor(file, group, columns)
        table = cursor.read(start, stop)
        self._cursor = cursor
        return table


class _Cursor:
    """A place in a row group that moves forward; a few batches behind it can still be read."""

    def __init__(self, file: pq.ParquetFile, group: int, columns: Sequence[str]) -> None:
        self._group, self._columns = group, list(columns)
        self._batches = file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns))
        self._held: list[pa.RecordBatch] = []
        self._first = self._end = 0

    def can_reach(self, group: int, start: int, columns: Sequence[str]) -> bool:
        return (group, list(columns)) == (self._group, self._columns) and start >= self._first

    def read(self, start: int, stop: int) -> pa.Table:
        while self._end < stop:
            batch = next(self._batches)
            self._held.append(batch)
            self._end += len(batch)
            while len(self._held) > 1 and self._first + len(self._held[0]) <= start - 4 * BATCH_ROWS:
                self._first += len(self._held.pop(0))
        return pa.Table.from_batches(self._held).slice(start - self._first, stop - start)


def _read_some_footers(store: Store, files: Sequence[FileInfo]) -> Iterator[pq.FileMetaData | BadFileError]:
    ends = [(file.path, max(0, file.size_bytes - FOOTER_BYTES), file.size_bytes) for file in files]
    tails = read_ranges(store, ends)
    long = [i for i, tail in enumerate(tails) if isinstance(tail, bytes) and _footer_size(tail) > len(tail)]
    if long:
        more = [(files[i].path, _footer_start(files[i], tails[i]), files[i].size_bytes) for i in long]
        for i, tail in zip(long, read_ranges(store, more), strict=True):
            tails[i] = tail
    for file, tail in zip(files, tails, strict=True):
        yield _parse_footer(store, file, tail)


def _footer_size(tail: bytes) -> int:
    """The size of the footer in bytes, according to the file's trailer. 0 if there is no trailer."""
    if tail[-4:] != b"PAR1" or len(tail) < TRAILER_BYTES:
        return 0
    return int(struct.unpack("<I", tail[-TRAILER_BYTES:-4])[0]) + TRAILER_BYTES


def _footer_start(file: FileInfo, tail: bytes | Exception) -> int:
    return max(0, file.size_bytes - _footer_size(cast(bytes, tail)))


def _parse_footer(store: Store, file: FileInfo, tail: bytes | Exception) -> pq.FileMetaData | BadFileError:
    where = f"{store.url}/{file.path}"
    if isinstance(tail, Exception):
        return BadFileError(f"{where}: {type(tail).__name__}: {tail}")
    try:
        return pq.read_metadata(pa.BufferReader(tail))
    except (pa.ArrowInvalid, OSError) as error:
        return BadFileError(f"{where}: not a readable Parquet file ({file.size_bytes} bytes): {error}")


def _plain(values: pa.Array) -> pa.Array:
    """The same values in a type that can be compared run by run: no dictionary, no view, no number.

    Arrow's run_end_encode (26.0) compares what lies under nulls of numbers, which may be anything.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_integer(values.type):
        values = values.cast(pa.string())
    return values.cast(pa.large_binary())


def _row_group_starts(footer: pq.FileMetaData) -> list[int]:
    """The number of the first row of each row group, and then the number of all rows."""
    starts = [0]
    for group in range(footer.num_row_groups):
        starts.append(starts[-1] + footer.row_group(group).num_rows)
    return starts


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold text: any string or binary type, dictionaries of them."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        check(kind)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
        )
    )


def to_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
