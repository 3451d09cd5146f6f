"""The input rows of a unit, a row for each of its pairs, from files that are kept open."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from rank1_batch.errors import BadFileError
from rank1_batch.parquet import RowReader
from rank1_batch.schema import Layout, find_layout, flatten
from rank1_batch.storage import Store, stat_file
from rank1_batch.units import Unit

OPEN_FILES = 8


class UnitRows:
    """Reads units for several threads; the input files that were read last stay open."""

    def __init__(self, store: Store, columns: Mapping[str, str], keep: Sequence[str]) -> None:
        self._store, self._columns, self._keep = store, columns, keep
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[RowReader, Layout]] = OrderedDict()

    def read(self, unit: Unit) -> pa.Table:
        """The unit's rows, flattened. Raises BadFileError where the file is not what was planned."""
        reader, layout = self._reader(unit)
        rows = reader.read(unit.row_start, unit.row_stop, layout.file_columns())
        return flatten(rows, layout, unit.row_start)

    def _reader(self, unit: Unit) -> tuple[RowReader, Layout]:
        with self._lock:
            if unit.path not in self._open:
                self._open[unit.path] = self._open_file(unit)
            self._open.move_to_end(unit.path)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
            return self._open[unit.path]

    def _open_file(self, unit: Unit) -> tuple[RowReader, Layout]:
        found = stat_file(self._store, unit.path)
        if found is None or found.identity != unit.identity:
            raise BadFileError(f"{self._store.url}/{unit.path}: changed or gone since the job was planned")
        reader = RowReader(self._store, unit.path)
        layout, problems = find_layout(reader.schema, self._columns, self._keep)
        if problems:
            raise BadFileError(f"{self._store.url}/{unit.path}: {'; '.join(problems)}")
        return reader, layout
