"""Reads the rows of a unit from its input file.

Knows nothing about Ray or engines.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from rank1_batch.errors import BadFileError
from rank1_batch.pairs.layout import Layout, find_layout, flatten
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import RowReader
from rank1_batch.storage.store import Store, stat_file

OPEN_FILES = 8


class UnitReader:
    """Reads the rows of units, for several threads. The last few input files stay open.

    `columns` maps our name to the file's (`input.columns`). `keep` names the columns copied to the output.
    """

    def __init__(self, source: Store, columns: Mapping[str, str], keep: Sequence[str]) -> None:
        self._source, self._columns, self._keep = source, columns, keep
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Opening] = OrderedDict()

    def read(self, unit: Unit) -> tuple[pa.Table, tuple[str, ...]]:
        """A row for each pair of the unit (`layout.flatten`), and the names of the kept columns.

        Raises BadFileError if the file has changed since it was planned, or cannot be read.
        """
        reader, layout = self._reader(unit)
        try:
            rows = reader.read(unit.row_start, unit.row_stop, layout.file_columns())
        except (BadFileError, TypeError):
            # Where a file is replaced, s3fs (2026.9) raises a TypeError over an answer without a message.
            self._check_unchanged(unit)
            raise
        self._check_unchanged(unit)  # it may have been replaced while it was read
        return flatten(rows, layout, unit.row_start), layout.keep

    def _reader(self, unit: Unit) -> tuple[RowReader, Layout]:
        with self._lock:
            opening = self._open.setdefault(unit.path, _Opening())
            self._open.move_to_end(unit.path)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        with opening.lock:
            if opening.opened is None:
                opening.opened = self._open_file(unit)
            return opening.opened

    def _open_file(self, unit: Unit) -> tuple[RowReader, Layout]:
        self._check_unchanged(unit)
        reader = RowReader(self._source, unit.path)
        layout, problems = find_layout(reader.schema, self._columns, self._keep)
        if problems:
            raise BadFileError(f"{self._source.url}/{unit.path}: {'; '.join(problems)}")
        return reader, layout

    def _check_unchanged(self, unit: Unit) -> None:
        found = stat_file(self._source, unit.path)
        if found is None or found.identity != unit.identity:
            raise BadFileError(f"{self._source.url}/{unit.path}: changed or removed since the job was planned")


class _Opening:
    """A file that one thread opens for all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.opened: tuple[RowReader, Layout] | None = None
