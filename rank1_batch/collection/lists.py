"""Reads lists of documents by query: those that may not be ranked, or those that an instruction changed.

Each is a JSONL or Parquet file with a query's id and its documents (a list, or one in each row), or a TSV with
a query's id and a document's id in each line.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from rank1_batch.collection.lines import BrokenLines, read_records
from rank1_batch.collection.sources import FileSource, TableFormat, find_file_sources, find_table_format
from rank1_batch.collection.trec import split_tsv
from rank1_batch.columns import DOC_ID, FILE_NAMES, QUERY_ID
from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.storage.parquet import open_parquet, read_batches

QUERY_NAMES = (*FILE_NAMES[QUERY_ID], "query-id")

DOCUMENT_NAMES = ("doc_ids", "excluded_ids", "corpus-ids", "corpus-id", DOC_ID, "docid", "docno", "pid")
"""Names of the field with the documents. BRIGHT has `excluded_ids`, and mteb's changed documents `corpus-ids`."""

Documents = dict[str, list[str]]
"""The doc_ids of each query, without repeats, in the order of the files."""


def read_document_lists(setting: str, value: Any) -> Documents:
    """The documents of each query, over all files that a setting names.

    Raises SettingsError if a file is missing, or its name does not end as one of the formats. Raises
    BadFileError, with file and line, if a line cannot be read.
    """
    found: dict[str, dict[str, None]] = {}
    broken = BrokenLines()
    for source in find_file_sources(setting, value):
        for query_id, doc_ids in _read(setting, source, broken):
            found.setdefault(query_id, {}).update(dict.fromkeys(doc_ids))
    broken.check()
    return {query_id: list(doc_ids) for query_id, doc_ids in found.items()}


def _read(setting: str, source: FileSource, broken: BrokenLines) -> Iterable[tuple[str, list[str]]]:
    form = find_table_format(source.file.path)
    if form is TableFormat.PARQUET:
        return _read_parquet(source)
    if form is TableFormat.TSV:
        return read_records(source.store, source.file.path, _parse_tsv, broken)
    if form is TableFormat.JSONL:
        return read_records(source.store, source.file.path, _parse_json, broken)
    raise SettingsError([f"{setting}: {source.file.path}: the name must end in .jsonl, .tsv or .parquet"])


def _read_parquet(source: FileSource) -> Iterator[tuple[str, list[str]]]:
    names = open_parquet(source.store, source.file.path).schema_arrow.names
    try:
        columns = [_find(names, QUERY_NAMES), _find(names, DOCUMENT_NAMES)]
    except ValueError as error:
        raise BadFileError(f"{source.where}: {error}; it has {', '.join(names)}") from error
    for batch in read_batches(source.store, source.file.path, columns):
        for query_id, value in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            yield str(query_id), _list_ids(value)


def _parse_json(line: str) -> tuple[str, list[str]]:
    record = msgspec.json.decode(line, type=dict[str, Any])
    return str(record[_find(record, QUERY_NAMES)]), _list_ids(record[_find(record, DOCUMENT_NAMES)])


def _parse_tsv(line: str) -> tuple[str, list[str]]:
    fields = split_tsv(line)
    if len(fields) != len(("query_id", "doc_id")) or not all(fields):
        raise ValueError(f"{len(fields)} fields split by tabs, but there must be two (query_id doc_id)")
    return fields[0], [fields[1]]


def _find(names: Iterable[str] | Mapping[str, Any], wanted: tuple[str, ...]) -> str:
    there = set(names)
    found = next((name for name in wanted if name in there), None)
    if found is None:
        raise ValueError(f"no field {' or '.join(wanted)}")
    return found


def _list_ids(value: Any) -> list[str]:
    """One id or a list of ids as text; none for null."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [str(one) for one in values]
