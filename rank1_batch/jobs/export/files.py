"""The files of an export: shards of each format, and links from each record to its judgments.

    <format>/<split>/part-00000.<suffix>     what a trainer reads
    links/<format>/<split>/part-00000.parquet  a row for each example of each record

Links have a folder of their own, so a trainer can read a format's whole folder.
"""

import io
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.columns import CANDIDATE, DOC_ID, QUERY_ID, ROW, UNIT_ID
from rank1_batch.jobs.export.formats import FORMATS, Format, Record, Style
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, write_bytes

GROUP_ROWS = 2_000

LINKS_FOLDER = "links"

LINKS_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("record", pa.int64()),
        ("place", pa.int32()),
        ("positive", pa.bool_()),
        (QUERY_ID, pa.string()),
        (DOC_ID, pa.string()),
        (UNIT_ID, pa.string()),
        (ROW, pa.int64()),
        (CANDIDATE, pa.int32()),
    ]
)
"""`record` is the number of the line or row in its file. `place` is the number of the example in it. Both from 0."""


class _Encoding(NamedTuple):
    """How records become a file: the text before, between and after them."""

    render: Callable[[Any], str]
    begin: str = ""
    between: str = "\n"
    end: str = "\n"


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


_ENCODINGS = {
    "jsonl": _Encoding(_to_json),
    "txt": _Encoding(str),
    "json": _Encoding(lambda entry: f"{_to_json(entry[0])}: {_to_json(entry[1])}", "{", ",\n", "}\n"),
}


class Shard:
    """One file of one format, and its links. Both are collected in memory, then written by `put`."""

    def __init__(self, name: str, split: str, number: int, style: Style) -> None:
        form = FORMATS[name]
        part = f"part-{number:05d}"
        self.path = f"{name}/{split}/{part}.{form.suffix}"
        self.records = 0
        self._links_path = f"{LINKS_FOLDER}/{name}/{split}/{part}.parquet"
        self._links: list[tuple[Any, ...]] = []
        self._link_tables: list[pa.Table] = []
        self._file = _open_file(form, style)

    def add(self, query_id: str, records: Iterable[Record]) -> None:
        """Add the records of one query."""
        for record in records:
            for place, example in enumerate(record.examples):
                source = (example.unit_id, example.row, example.candidate)
                where = (self.path, self.records, place)
                self._links.append((*where, example.positive, query_id, example.doc_id, *source))
            self._file.add(record.value)
            self.records += 1
        if len(self._links) >= GROUP_ROWS:
            self._pack_links()

    def put(self, store: Store) -> None:
        """Write both files, unless they are empty."""
        if not self.records:
            return
        self._pack_links()
        write_bytes(store, self.path, self._file.close())
        write_bytes(store, self._links_path, to_parquet(pa.concat_tables(self._link_tables)))

    def _pack_links(self) -> None:
        """Turn the collected links into a table. As Python objects they take ten times the memory."""
        if self._links:
            columns = zip(*self._links, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, LINKS_SCHEMA, strict=True)]
            self._link_tables.append(pa.table(arrays, schema=LINKS_SCHEMA))
            self._links = []


def _open_file(form: Format, style: Style) -> "_Lines | _Rows":
    return _Lines(_ENCODINGS[form.suffix]) if form.schema is None else _Rows(form.schema(style))


class _Lines:
    """A text file with one record in each line."""

    def __init__(self, encoding: _Encoding) -> None:
        self._encoding = encoding
        self._buffer = io.BytesIO()

    def add(self, value: Any) -> None:
        before = self._encoding.between if self._buffer.tell() else self._encoding.begin
        self._buffer.write((before + self._encoding.render(value)).encode())

    def close(self) -> bytes:
        self._buffer.write(self._encoding.end.encode())
        return self._buffer.getvalue()


class _Rows:
    """A Parquet file with one record in each row."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._buffer = io.BytesIO()
        self._writer = pq.ParquetWriter(self._buffer, schema, compression="zstd")
        self._rows: list[Any] = []

    def add(self, value: Any) -> None:
        self._rows.append(value)
        if len(self._rows) == GROUP_ROWS:
            self._flush()

    def close(self) -> bytes:
        self._flush()
        self._writer.close()
        return self._buffer.getvalue()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
