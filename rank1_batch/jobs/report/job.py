"""The job: read the output query by query, count, write the pieces, and the page last."""

import hashlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rank1_batch.collection.qrels import read_qrels
from rank1_batch.columns import QUERY_ID
from rank1_batch.jobs.report.figures import Figures
from rank1_batch.jobs.report.grading import GradedFigures, Grading
from rank1_batch.jobs.report.overview import Contents
from rank1_batch.jobs.report.page import PAGE_PATH, render_page
from rank1_batch.jobs.report.pieces import TEXT_PIECES, Pieces, PieceSizes
from rank1_batch.jobs.report.queries import ReportedQuery, build_queries
from rank1_batch.jobs.report.settings import ALL_TRACES, ZERO, ReportJobConfig
from rank1_batch.jobs.report.source import JobOutput, ReportTexts, open_output, open_report_texts, read_rows
from rank1_batch.measuring.measures import Qrels
from rank1_batch.output.claims import Owner, check_claim, write_claim
from rank1_batch.storage.buckets import DEAL_ROWS, deal_rows, read_bucket
from rank1_batch.storage.store import Store, delete_file, list_files, open_store, write_bytes

REPORT = Owner("jobs.report", "report.path", "_rank1/report.json")

DATA_FOLDER = "data"

SAMPLED_UNITS = 8
"""So many units are read to say how large a report would be."""


class Written(NamedTuple):
    """What came of it. `sizes` are those of the pieces by kind, `missing` says why there are no texts."""

    url: str
    output: JobOutput
    queries: int
    sizes: dict[str, PieceSizes]
    page_bytes: int
    missing: str | None

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole report."""
        return self.page_bytes + sum(sizes.size_bytes for sizes in self.sizes.values())


class _Job(NamedTuple):
    """Everything a report is made of, already checked."""

    config: ReportJobConfig
    output: JobOutput
    texts: ReportTexts
    qrels: Qrels


def run_report(config: ReportJobConfig) -> Written:
    """Write the report, in place of an earlier one of the same output."""
    job = _open(config)
    place = open_store(config.report.path)
    claim = {"output": job.output.store.url}
    check_claim(place, REPORT, claim)
    write_claim(place, REPORT, claim)
    folder = f"{DATA_FOLDER}/{_name_version(job)}"
    pieces = Pieces(
        lambda name, script: write_bytes(place, f"{folder}/{name}.js", script),
        with_texts=config.traces == ALL_TRACES,
    )
    figures, graded = _count(job, pieces)
    page = render_page(_contents(job, figures, graded, pieces, folder))
    write_bytes(place, PAGE_PATH, page)
    _delete_others(place, folder)
    return Written(place.url, job.output, figures.queries, pieces.sizes, len(page), job.texts.missing)


def estimate_report(config: ReportJobConfig) -> tuple[JobOutput, float, float]:
    """About how many bytes a report would have with all traces, and with those of the examples. Writes nothing.

    Some units are made into pieces, and the rest is taken to be like them.
    """
    job = _open(config)
    step = max(1, len(job.output.units) // SAMPLED_UNITS)
    sample = job.output.units[::step][:SAMPLED_UNITS]
    job = job._replace(output=job.output._replace(units=sample))
    pieces = Pieces(lambda *_: None, with_texts=True)
    _count(job, pieces)
    whole = open_output(config.output.path)
    scale = whole.rows / job.output.rows
    total = sum(sizes.size_bytes for sizes in pieces.sizes.values()) * scale
    return whole, total, total - pieces.sizes[TEXT_PIECES].size_bytes * scale


def _open(config: ReportJobConfig) -> _Job:
    output = open_output(config.output.path)
    qrels = {} if config.qrels is None else read_qrels("qrels", config.qrels)
    return _Job(config, output, open_report_texts(config.input.path, output), qrels)


def _count(job: _Job, pieces: Pieces) -> tuple[Figures, GradedFigures | None]:
    """Go through all queries once."""
    figures = Figures(job.config.relevance_threshold)
    grading = Grading(job.qrels, job.config.measures, job.config.relevance_threshold)
    for queries in _read_queries(job):
        gains = grading.add(queries)
        for query in queries:
            figures.add(query)
            pieces.add(query, gains.get(query.query_id))
    pieces.finish(figures.all_examples())
    return figures, grading.finish(zero=job.output.finished and job.config.missing_queries == ZERO)


def _read_queries(job: _Job) -> Iterator[list[ReportedQuery]]:
    """All queries, a bucket of them at a time. A query's rows may stand in any unit."""
    # As many rows are held while they are dealt as there are in a bucket.
    buckets = max(1, math.isqrt(job.output.rows // DEAL_ROWS))
    with tempfile.TemporaryDirectory(prefix="rank1_batch-") as folder:
        tables = read_rows(job.output, job.output.units, job.texts.reader)
        for path in deal_rows(tables, QUERY_ID, Path(folder), buckets):
            table = read_bucket(path)
            if table is not None:
                yield list(build_queries(table, job.qrels))


def _contents(job: _Job, figures: Figures, graded: GradedFigures | None, pieces: Pieces, folder: str) -> Contents:
    return Contents(
        output=job.output,
        figures=figures,
        graded=graded,
        pieces={kind: sizes.files for kind, sizes in pieces.sizes.items()},
        folder=folder,
        traces=job.config.traces,
        missing=job.texts.missing,
        relevance_threshold=job.config.relevance_threshold,
    )


def _name_version(job: _Job) -> str:
    """Another name for pieces with another content: browsers keep what they have loaded."""
    config = asdict(job.config)
    del config["dry_run"], config["report"]
    made_of = (
        job.output.version,
        config,
        job.texts.missing,
        sorted(map(repr, job.qrels.items())),
        version("rank1-batch"),
    )
    return hashlib.blake2b(repr(made_of).encode(), digest_size=8).hexdigest()


def _delete_others(place: Store, folder: str) -> None:
    """Remove the pieces of an earlier report."""
    for file in list_files(place, DATA_FOLDER):
        if not file.path.startswith(f"{folder}/"):
            delete_file(place, file.path)
