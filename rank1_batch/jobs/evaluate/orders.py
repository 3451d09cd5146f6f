"""Reads the order of candidates from run files, or from an output of `jobs.rerank`, on disk or in a store."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.collection.lines import BrokenLines
from rank1_batch.collection.runs import STRICT_PARSERS, read_run
from rank1_batch.collection.sources import RunFormat, check_paths, find_file_sources, find_run_format
from rank1_batch.columns import DOC_ID, FIRST_STAGE_RANK, FIRST_STAGE_SCORE, LABEL, QUERY_ID, RANK, SCORE
from rank1_batch.errors import SettingsError
from rank1_batch.measuring.agreement import Labelled
from rank1_batch.output.layout import JOB_PATH, judgments_path
from rank1_batch.output.ranking import RANKING_FOLDER, is_ranked
from rank1_batch.output.success import find_finished_units
from rank1_batch.output.summary import read_summary
from rank1_batch.storage.parquet import read_tables
from rank1_batch.storage.store import Store, list_files, open_store, stat_file

Lists = dict[str, list[str]]
"""The doc_ids of each query, best first, without repeats."""

ORDER_SCHEMA = pa.schema({QUERY_ID: pa.string(), DOC_ID: pa.string(), RANK: pa.int64(), SCORE: pa.float64()})

OWN_RANK = {RANK: RANK}
"""Only a column `rank` counts as the rank. A Parquet file's `first_stage_rank` is the rank in another order."""


class Ranking(NamedTuple):
    """An order, the first stage's order if it is known, and the job's output if the order came from one.

    `duplicates` counts repeated candidates.
    """

    order: Lists
    first_stage: Lists | None = None
    duplicates: int = 0
    output: Store | None = None


def read_ranking(setting: str, value: Any, form: str = RunFormat.AUTO) -> Ranking:
    """The order that a setting names: a job's output folder, or run files.

    Raises SettingsError if it does not exist or is empty. Raises BadFileError, with file and line, if
    it cannot be read.
    """
    paths = check_paths(setting, value)
    output = open_store(paths[0])
    if len(paths) == 1 and stat_file(output, JOB_PATH):
        ranking = _read_output(setting, output)
    else:
        rows = pa.Table.from_batches(_read_files(setting, value, RunFormat(form)), ORDER_SCHEMA)
        order = order_candidates(rows, RANK, SCORE)
        ranking = Ranking(order, duplicates=len(rows) - _count(order))
    if not ranking.order:
        raise SettingsError([f"{setting}: {', '.join(paths)} has no candidates"])
    return ranking


def read_labels(output: Store) -> Iterator[Labelled]:
    """Every judged row of a job's output."""
    paths = [judgments_path(unit.unit_id) for unit in find_finished_units(output).units]
    columns = [QUERY_ID, DOC_ID, LABEL, SCORE]
    for table in read_tables(output, paths, columns):
        yield from map(Labelled, *(table[name].to_pylist() for name in columns))


def order_candidates(rows: pa.Table, rank: str, score: str) -> Lists:
    """The doc_ids of each query: by rank if there is one, then by score, as trec_eval orders them.

    trec_eval compares scores as 64-bit floats since 2023 (commit dc0c991, released in version 10.0; version
    9.0.8 has 32-bit floats), and breaks ties by doc_id in descending order. A repeated doc_id keeps its
    best place.
    """
    keys = [QUERY_ID, RANK, SCORE, DOC_ID]
    found = pa.table([rows[name] for name in (QUERY_ID, rank, score, DOC_ID)], keys)
    directions = zip(keys, ("ascending", "ascending", "descending", "descending"), strict=True)
    places = pc.sort_indices(found, sort_keys=list(directions))
    order: dict[str, dict[str, None]] = {}
    for query_id, doc_id in zip(*(found[name].take(places).to_pylist() for name in (QUERY_ID, DOC_ID)), strict=True):
        order.setdefault(query_id, {}).setdefault(doc_id)
    return {query_id: list(doc_ids) for query_id, doc_ids in order.items()}


def _read_files(setting: str, value: Any, form: RunFormat) -> Iterator[pa.RecordBatch]:
    """All candidates of run files. The ranks of a TREC run are ignored, as in trec_eval."""
    broken = BrokenLines()
    for source in find_file_sources(setting, value):
        found = _find_form(setting, source.file.path, form)
        for batch in read_run([source], found, OWN_RANK, broken, STRICT_PARSERS):
            ranks = pa.nulls(len(batch), pa.int64()) if found is RunFormat.TREC else batch.column(RANK)
            columns = [batch.column(QUERY_ID), batch.column(DOC_ID), ranks, batch.column(SCORE)]
            yield pa.record_batch(columns, schema=ORDER_SCHEMA)
    broken.check()


def _find_form(setting: str, path: str, form: RunFormat) -> RunFormat:
    try:
        return find_run_format(path, form)
    except SettingsError as error:
        raise SettingsError([f"{setting}{problem.removeprefix('run')}" for problem in error.problems]) from error


def _read_output(setting: str, output: Store) -> Ranking:
    """A job's ranking, by its ranks. Failed rows stand last, in first-stage order."""
    find_finished_units(output)
    summary = read_summary(output)
    if summary is None or not is_ranked(output, summary.counts.rows - summary.duplicate_candidates):
        raise SettingsError(
            [f"{setting}: {output.url} has no whole {RANKING_FOLDER}/. Run the same jobs.rerank command to finish it."]
        )
    paths = [file.path for file in list_files(output, RANKING_FOLDER) if file.path.endswith(".parquet")]
    columns = [QUERY_ID, DOC_ID, RANK, FIRST_STAGE_RANK, FIRST_STAGE_SCORE]
    rows = pa.concat_tables(read_tables(output, paths, columns))
    known = any(rows[name].null_count < len(rows) for name in (FIRST_STAGE_RANK, FIRST_STAGE_SCORE))
    first = order_candidates(rows, FIRST_STAGE_RANK, FIRST_STAGE_SCORE) if known else None
    return Ranking(order_candidates(rows, RANK, FIRST_STAGE_SCORE), first, output=output)


def _count(order: Lists) -> int:
    return sum(map(len, order.values()))
