"""The work unit: consecutive rows of one input file, judged together and committed as one file.

Knows nothing about files or Ray.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LARGEST_UNIT_ROWS = 1024

SEQUENCE_ROWS = 4
"""Rows of a unit for each sequence of an engine, at most. A unit then takes a replica about as long as four rows, one
after the other: some minutes at most, whatever the model."""

TAIL_UNITS = 3
"""Toward the end, a unit takes at most a third of what is left for each replica, so that all finish together."""


class UnitSizes(NamedTuple):
    """How large units are: `rows` at most, and smaller toward the end of a job for so many `replicas`."""

    rows: int = LARGEST_UNIT_ROWS
    least_rows: int = 32
    replicas: int = 1

    def cut(self, remaining_pairs: int) -> int:
        """Pairs of the next unit when `remaining_pairs` are left."""
        return min(self.rows, max(self.least_rows, remaining_pairs // (TAIL_UNITS * self.replicas)))


DEFAULT_SIZES = UnitSizes()


def choose_sizes(max_num_seqs: int, replicas: int) -> UnitSizes:
    """The sizes for replicas whose engines judge `max_num_seqs` rows at a time.

    The last units have a row for each sequence: smaller ones leave engines idle (`benchmarks/dealing.py`).
    """
    return UnitSizes(min(LARGEST_UNIT_ROWS, SEQUENCE_ROWS * max_num_seqs), max_num_seqs, replicas)


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


def cut_runs(query_ends: Iterable[int], sizes: UnitSizes, remaining_pairs: int) -> Iterator[tuple[int, int]]:
    """Cut the rows of one file into (start, stop) runs, between queries where it can be.

    `query_ends` are the ascending row numbers at which a query ends. The last one is the number of rows. A query that
    is larger than a unit is split. `remaining_pairs` counts the pairs of this file and of all after it.
    """
    start = last = 0
    for end in query_ends:
        while end - start > (rows := sizes.cut(remaining_pairs - start)):
            stop = last if last - start >= max(1, rows // 2) else start + rows
            yield start, stop
            start = stop
        last = end
    if start < last:
        yield start, last


def cut_lists(list_sizes: Iterable[int], sizes: UnitSizes, remaining_pairs: int) -> Iterator[tuple[int, int, int]]:
    """Cut rows with a list of candidates each into (start, stop, pairs).

    A row is never split, so one query's candidates stay in one unit.
    """
    start = stop = pairs = done = 0
    for row, size in enumerate(list_sizes):
        if pairs and pairs + size > sizes.cut(remaining_pairs - done):
            yield start, row, pairs
            start, done, pairs = row, done + pairs, 0
        pairs += size
        stop = row + 1
    if start < stop:
        yield start, stop, pairs
