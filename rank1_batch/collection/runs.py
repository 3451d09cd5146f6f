"""Reads first-stage runs from TREC, TSV, JSON and Parquet files, as record batches with one schema."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.collection.lines import BYTE_ORDER_MARK, BrokenLines, open_text, read_records
from rank1_batch.collection.records import explain_json, find_names
from rank1_batch.collection.sources import DatasetSource, FileSource, RunFormat, Source, find_run_format
from rank1_batch.collection.tables import TABLE_BATCH_ROWS, find_columns, find_good, is_empty, read_strings
from rank1_batch.collection.trec import (
    RunLine,
    is_comment,
    parse_ranked_line,
    parse_run_line,
    parse_scored_line,
    parse_strict_run_line,
)
from rank1_batch.columns import DOC_ID, QUERY_ID, RANK, SCORE
from rank1_batch.errors import BadFileError
from rank1_batch.storage.parquet import read_batches

RUN_NUMBER = "number"

RUN_SCHEMA = pa.schema(
    [
        (QUERY_ID, pa.string()),
        (DOC_ID, pa.string()),
        (RANK, pa.int64()),
        (SCORE, pa.float64()),
        (RUN_NUMBER, pa.int64()),
    ]
)
"""`number` counts candidates over all files, from 0. Rank or score is null if a run does not have it."""

LINE_PARSERS: Mapping[RunFormat, Callable[[str], RunLine]] = {
    RunFormat.TREC: parse_run_line,
    RunFormat.TSV_SCORE: parse_scored_line,
    RunFormat.TSV_RANK: parse_ranked_line,
}

STRICT_PARSERS = {**LINE_PARSERS, RunFormat.TREC: parse_strict_run_line}
"""Those that accept no words after the tag."""


def read_run(
    sources: Sequence[Source],
    form: RunFormat,
    mapping: Mapping[str, str],
    broken: BrokenLines,
    parsers: Mapping[RunFormat, Callable[[str], RunLine]] = LINE_PARSERS,
) -> Iterator[pa.RecordBatch]:
    """All candidates of a run (RUN_SCHEMA). Broken lines are noted in `broken` and left out.

    A JSON run is held whole in memory. All others are read in parts of bounded size. Raises
    BadFileError if a file cannot be read, SettingsError if `run_format` must be given.
    """
    number = 0
    for source in sources:
        for batch in _read_source(source, form, mapping, broken, parsers):
            numbers = pa.array(range(number, number + len(batch)), pa.int64())
            yield pa.record_batch([*batch.columns, numbers], schema=RUN_SCHEMA)
            number += len(batch)


def _read_source(
    source: Source,
    form: RunFormat,
    mapping: Mapping[str, str],
    broken: BrokenLines,
    parsers: Mapping[RunFormat, Callable[[str], RunLine]],
) -> Iterator[pa.RecordBatch]:
    """Batches of RUN_SCHEMA without `number`."""
    if isinstance(source, DatasetSource):
        from rank1_batch.collection.ir_datasets import read_dataset_run

        return _gather(read_dataset_run(source.dataset))
    form = find_run_format(source.file.path, form)
    if form is RunFormat.PARQUET:
        return _read_parquet(source, mapping, broken)
    if form is RunFormat.JSON:
        return _gather(_read_json(source))
    skip = is_comment if form is RunFormat.TREC else _is_blank
    return _gather(read_records(source.store, source.file.path, parsers[form], broken, skip))


def _is_blank(line: str) -> bool:
    return not line.strip()


def _read_json(source: FileSource) -> Iterator[RunLine]:
    """A run as `{query_id: {doc_id: score}}`, the form of rank1-run-files' `score.json`."""
    try:
        with open_text(source.store, source.file.path) as file:
            data = file.read().removeprefix(BYTE_ORDER_MARK.encode())
        run = msgspec.json.decode(data, type=dict[str, dict[str, float]])
    except OSError as error:
        raise BadFileError(f"{source.where}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = explain_json(data, error)
        raise BadFileError(
            f"{source.where}: not a run of the form {{query_id: {{doc_id: score}}}}: {reason}"
        ) from error
    for query_id, scores in run.items():
        for doc_id, score in scores.items():
            yield RunLine(query_id, doc_id, None, score)


def _read_parquet(source: FileSource, mapping: Mapping[str, str], broken: BrokenLines) -> Iterator[pa.RecordBatch]:
    names = find_names((QUERY_ID, DOC_ID, SCORE, RANK), mapping)
    found = find_columns(source, names, (QUERY_ID, DOC_ID))
    if not found.keys() & {SCORE, RANK}:
        raise BadFileError(f"{source.where}: no column for score or rank; it has {', '.join(found.values())}")
    row = 0
    for batch in read_batches(source.store, source.file.path, list(found.values())):
        query_ids, doc_ids = (read_strings(source, batch, found[name]) for name in (QUERY_ID, DOC_ID))
        ranks = _numbers(source, batch, found.get(RANK), pa.int64())
        scores = _numbers(source, batch, found.get(SCORE), pa.float64())
        checks = [
            (is_empty(query_ids), f"the {QUERY_ID} is null or empty"),
            (is_empty(doc_ids), f"the {DOC_ID} is null or empty"),
            (pc.is_nan(scores).fill_null(fill_value=False), f"the {SCORE} is not a number"),
        ]
        good = find_good(source, row, checks, broken)
        yield pa.record_batch([query_ids, doc_ids, ranks, scores], names=RUN_SCHEMA.names[:-1]).filter(good)
        row += len(batch)


def _numbers(source: FileSource, batch: pa.RecordBatch, name: str | None, kind: pa.DataType) -> pa.Array:
    """A column of numbers; all nulls if there is no such column."""
    if name is None:
        return pa.nulls(len(batch), kind)
    column = batch.column(name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise BadFileError(f"{source.where}: column {name!r} is {column.type}, but must be numbers")
    try:
        return column.cast(kind)
    except pa.ArrowInvalid as error:
        raise BadFileError(f"{source.where}: column {name!r}: {error}") from error


def _gather(lines: Iterable[RunLine]) -> Iterator[pa.RecordBatch]:
    rest = iter(lines)
    while held := list(islice(rest, TABLE_BATCH_ROWS)):
        columns = list(zip(*held, strict=True))[:-1]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, RUN_SCHEMA.types[:-1], strict=True)]
        yield pa.record_batch(arrays, names=RUN_SCHEMA.names[:-1])
