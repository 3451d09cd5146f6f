"""The text that was judged: a unit's rows from its input file, and beside its committed judgments.

A unit's judgments stand in the order of its rows, so the join is by place and costs no memory.
Knows nothing about Ray or engines.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from rank1_batch.errors import BadFileError
from rank1_batch.judging import Pair
from rank1_batch.manifest import judgments_path
from rank1_batch.parquet import RowReader, open_parquet, read_or_blame
from rank1_batch.schema import (
    CANDIDATE,
    INSTRUCTION,
    PASSAGE,
    QUERY,
    ROW,
    TITLE,
    Layout,
    find_layout,
    flatten,
    read_pairs,
)
from rank1_batch.storage import Store, stat_file
from rank1_batch.units import Unit

OPEN_FILES = 8
TEXTS = (QUERY, PASSAGE, TITLE, INSTRUCTION)
NO_TEXT = Pair(None, None)


class UnitReader:
    """Reads the rows of units, for several threads; the input files that were read last are kept open.

    `columns` maps our name to the file's (`input.columns`), `keep` names those that pass through.
    """

    def __init__(self, source: Store, columns: Mapping[str, str], keep: Sequence[str]) -> None:
        self._source, self._columns, self._keep = source, columns, keep
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Opening] = OrderedDict()

    def read(self, unit: Unit) -> tuple[pa.Table, tuple[str, ...]]:
        """A row for each pair of the unit (`schema.flatten`), and the names of the columns that pass through.

        Raises BadFileError where the file changed since it was planned, or cannot be read.
        """
        reader, layout = self._reader(unit)
        rows = reader.read(unit.row_start, unit.row_stop, layout.file_columns())
        self._check_unchanged(unit)  # it may have been written over while it was read
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
            raise BadFileError(f"{self._source.url}/{unit.path}: changed or gone since the job was planned")


class _Opening:
    """A file that one thread opens for all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.opened: tuple[RowReader, Layout] | None = None


def read_judgments(output: Store, unit: Unit, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a unit's committed judgments (all of them by default), in the order of its rows."""
    path = judgments_path(unit.unit_id)
    return read_or_blame(output, path, lambda: open_parquet(output, path).read(columns and list(columns)))


def join_texts(judgments: pa.Table, rows: pa.Table, where: str) -> pa.Table:
    """A unit's judgments with the text that was judged beside them: query, passage, title, instruction.

    `judgments` must hold `row` and `candidate`; `rows` comes from `UnitReader.read`. Text is null where
    the input has none, and in rows that `schema.read_pairs` could not make a pair of. Raises
    BadFileError, naming `where`, if the rows are not those that were judged.
    """
    if any(judgments[name].to_pylist() != rows[name].to_pylist() for name in (ROW, CANDIDATE)):
        raise BadFileError(f"{where}: the rows of the input are not those that were judged")
    pairs = [pair if isinstance(pair, Pair) else NO_TEXT for pair in read_pairs(rows)]
    columns = {name: pa.array([getattr(pair, name) for pair in pairs], pa.string()) for name in TEXTS}
    return pa.table({**{name: judgments[name] for name in judgments.column_names}, **columns})
