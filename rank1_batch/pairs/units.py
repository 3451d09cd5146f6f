"""The work unit: consecutive rows of one input file, judged together and committed as one file.

Knows nothing about files or Ray.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

UNIT_ROWS = 256

LARGEST_UNIT_ROWS = 4096

SMALLEST_UNIT_ROWS = 32

MOST_UNITS = 20_000

TAIL_UNITS = 64
"""Toward the end, a unit takes at most 1/64 of the remaining pairs, so that all replicas finish together."""


class Unit(NamedTuple):
    """Rows `row_start` to `row_stop` (excluded) of one file. `pairs` is the number of pairs in them.

    `path` is relative to the input root. `identity` is the file's etag, or its size and time of change.
    """

    unit_id: str
    path: str
    identity: str
    row_start: int
    row_stop: int
    pairs: int


def name_unit(path: str, identity: str, row_start: int, row_stop: int) -> str:
    """The unit's id, 16 hex digits. The same rows of the same file get the same id on any machine."""
    key = "\n".join((path, identity, str(row_start), str(row_stop)))
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def choose_unit_rows(total_pairs: int) -> int:
    """Pairs for each unit: 256, or more for a large job to keep it near 20,000 units, but at most 4,096."""
    return min(max(UNIT_ROWS, total_pairs // MOST_UNITS), LARGEST_UNIT_ROWS)


def cut_unit_rows(unit_rows: int, remaining_pairs: int) -> int:
    """Pairs of the next unit when `remaining_pairs` are left. Units get smaller toward the end."""
    return min(unit_rows, max(SMALLEST_UNIT_ROWS, remaining_pairs // TAIL_UNITS))


def cut_runs(query_ends: Sequence[int], unit_rows: int, remaining_pairs: int) -> Iterator[tuple[int, int]]:
    """Cut the rows of one file into (start, stop) runs of about `unit_rows`, between queries.

    `query_ends` are the ascending row numbers at which a query ends. The last one is the number of
    rows. A query of more than `unit_rows` rows is split. `remaining_pairs` counts the pairs of this
    file and of all after it.
    """
    start, stop_at = 0, query_ends[-1] if query_ends else 0
    while start < stop_at:
        rows = cut_unit_rows(unit_rows, remaining_pairs - start)
        last = bisect_right(query_ends, start + rows) - 1
        stop = query_ends[last] if last >= 0 else 0
        if stop - start < max(1, rows // 2):
            stop = min(start + rows, stop_at)
        yield start, stop
        start = stop


def cut_lists(list_sizes: Sequence[int], unit_rows: int, remaining_pairs: int) -> Iterator[tuple[int, int, int]]:
    """Cut rows with a list of candidates each into (start, stop, pairs) of about `unit_rows` pairs.

    A row is never split, so one query's candidates stay in one unit.
    """
    start = pairs = done = 0
    for row, size in enumerate(list_sizes):
        if pairs and pairs + size > cut_unit_rows(unit_rows, remaining_pairs - done):
            yield start, row, pairs
            start, done, pairs = row, done + pairs, 0
        pairs += size
    if start < len(list_sizes):
        yield start, len(list_sizes), pairs
