"""Reads people's grades from TREC qrels, BEIR's TSV and Parquet files, plain or compressed, on disk or in a store.

Also those of a data set of ir_datasets.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from rank1_batch.collection.lines import BrokenLines, read_records, strip_compression
from rank1_batch.collection.sources import DATASET_PREFIX, FileSource, check_paths, find_file_sources
from rank1_batch.collection.tables import find_columns, find_good, is_empty, read_strings
from rank1_batch.collection.trec import (
    Qrel,
    is_beir_header,
    is_comment,
    parse_beir_qrel_line,
    parse_qrel_line,
    split_tsv,
)
from rank1_batch.columns import DOC_ID, FILE_NAMES, QUERY_ID
from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.storage.parquet import read_batches

RELEVANCE = "relevance"

QRELS_COLUMNS = {
    QUERY_ID: (*FILE_NAMES[QUERY_ID], "query-id"),
    DOC_ID: (*FILE_NAMES[DOC_ID], "corpus-id"),
    RELEVANCE: (RELEVANCE, "rel", "grade", "score"),
}
"""Names of the columns in Parquet files. The first one that a file has is used."""

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")

BEIR_FIELDS = 3

Grades = dict[str, dict[str, int]]
"""The relevance of each graded document, by query."""


def read_qrels(setting: str, value: Any) -> Grades:
    """The grades of all files that a setting names.

    Each is a path, or `ir_datasets:ID`. Raises SettingsError if a file is missing or none has a grade.
    Raises BadFileError, with file and line, if a line cannot be read or gives a pair a second, different grade.
    """
    grades: Grades = {}
    broken = BrokenLines()
    paths = check_paths(setting, value)
    files = [path for path in paths if not path.startswith(DATASET_PREFIX)]
    for dataset in (path.removeprefix(DATASET_PREFIX) for path in paths if path not in files):
        _read_dataset(dataset, grades)
    for source in find_file_sources(setting, files) if files else ():
        if PurePosixPath(source.file.path).suffix.lower() in PARQUET_SUFFIXES:
            _read_parquet(source, grades, broken)
        else:
            _read_text(source, grades, broken)
    broken.check()
    if not grades:
        raise SettingsError([f"{setting}: {', '.join(paths)} has no grades"])
    return grades


def _read_dataset(dataset: str, grades: Grades) -> None:
    from rank1_batch.collection.ir_datasets import read_dataset_qrels

    for qrel in read_dataset_qrels(dataset):
        try:
            _add(grades, qrel)
        except ValueError as error:
            raise BadFileError(f"{DATASET_PREFIX}{dataset}: {error}") from error


def _read_text(source: FileSource, grades: Grades, broken: BrokenLines) -> None:
    parser = _Parser(grades, tsv=PurePosixPath(strip_compression(source.file.path)).suffix.lower() == ".tsv")
    for _ in read_records(source.store, source.file.path, parser.parse, broken, parser.skip):
        pass


class _Parser:
    """Adds the lines of one file to `grades`, in BEIR's form if the first line says so, else in TREC's."""

    def __init__(self, grades: Grades, *, tsv: bool) -> None:
        self._grades = grades
        self._tsv = tsv
        self._beir: bool | None = None

    def skip(self, line: str) -> bool:
        """Whether a line has no grade: it is blank, BEIR's header, or a comment in TREC's form."""
        if self._beir is None and line.strip():
            self._beir = is_beir_header(line) or (self._tsv and len(split_tsv(line)) == BEIR_FIELDS)
            return is_beir_header(line) or (not self._beir and is_comment(line))
        return not line.strip() if self._beir else is_comment(line)

    def parse(self, line: str) -> None:
        """Add a line's grade. Raises ValueError that says what is wrong."""
        qrel = parse_beir_qrel_line(line) if self._beir else parse_qrel_line(line)
        _add(self._grades, qrel)


def _add(grades: Grades, qrel: Qrel) -> None:
    found = grades.setdefault(qrel.query_id, {}).setdefault(qrel.doc_id, qrel.relevance)
    if found != qrel.relevance:
        raise ValueError(f"{qrel.query_id}/{qrel.doc_id} has the grade {qrel.relevance} here, but {found} before")


def _read_parquet(source: FileSource, grades: Grades, broken: BrokenLines) -> None:
    names = find_columns(source, QRELS_COLUMNS, tuple(QRELS_COLUMNS))
    first_row = 0
    for batch in read_batches(source.store, source.file.path, list(names.values())):
        query_ids, doc_ids = (read_strings(source, batch, names[name]) for name in (QUERY_ID, DOC_ID))
        relevance = _whole_numbers(source, batch.column(names[RELEVANCE]), names[RELEVANCE])
        checks = [
            (is_empty(query_ids), f"the {QUERY_ID} is null or empty"),
            (is_empty(doc_ids), f"the {DOC_ID} is null or empty"),
            (relevance.is_null(), f"the {RELEVANCE} is null"),
        ]
        good = find_good(source, first_row, checks, broken)
        rows = pa.record_batch([query_ids, doc_ids, relevance], names=list(QRELS_COLUMNS)).filter(good)
        _add_rows(source, zip(*(column.to_pylist() for column in rows.columns), strict=True), grades)
        first_row += len(batch)


def _add_rows(source: FileSource, rows: Iterable[tuple[str, str, int]], grades: Grades) -> None:
    for row in rows:
        try:
            _add(grades, Qrel(*row))
        except ValueError as error:
            raise BadFileError(f"{source.where}: {error}") from error


def _whole_numbers(source: FileSource, column: pa.Array, name: str) -> pa.Array:
    """The column as whole numbers; 1.0 counts as one. Raises BadFileError for other values."""
    try:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise BadFileError(f"{source.where}: column {name!r}: {error}") from error
    raise BadFileError(f"{source.where}: column {name!r} is {column.type}, but must be whole numbers")
