"""The output of a job, made without a job: committed units, their ranking and the records of the job."""

from collections.abc import Sequence

import pyarrow as pa

from rank1_batch.columns import CANDIDATE, DOC_ID, FIRST_STAGE_RANK, FIRST_STAGE_SCORE, QUERY_ID, ROW
from rank1_batch.judging.records import Finish, Judgment, failed_judgment
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.fingerprint import claim_output
from rank1_batch.output.judgments import build_judgments
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.plan import write_plan
from rank1_batch.output.ranking import rank_units
from rank1_batch.output.success import build_success
from rank1_batch.output.summary import Summary, write_summary
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import Store, write_bytes

Row = tuple[str | None, str | None, float | None, int | None]
"""A query_id, a doc_id, a score or None for a row that failed, and a first-stage rank."""


def write_judged(store: Store, rows: Sequence[Row], unit_rows: int = 1000) -> None:
    """Write the output of a finished job. Labels are true from a score of 0.5 on."""
    units = commit_rows(store, rows, unit_rows)
    ranked = rank_units(store, units)
    claim_output(store, {})
    write_plan(store, units)
    counts = Counts(rows=len(rows))
    write_summary(store, Summary(counts, duplicate_candidates=ranked.duplicates))
    write_bytes(store, SUCCESS_PATH, build_success(units))


def commit_rows(store: Store, rows: Sequence[Row], unit_rows: int) -> list[Unit]:
    """Commit the rows as a job does, with this many rows in a unit."""
    return [_commit(store, start, rows[start : start + unit_rows]) for start in range(0, len(rows), unit_rows)]


def _commit(store: Store, start: int, rows: Sequence[Row]) -> Unit:
    query_ids, doc_ids, scores, ranks = ([*column] for column in zip(*rows, strict=True))
    table = pa.table(
        {
            QUERY_ID: pa.array(query_ids, pa.string()),
            DOC_ID: pa.array(doc_ids, pa.string()),
            FIRST_STAGE_RANK: pa.array(ranks, pa.int64()),
            FIRST_STAGE_SCORE: pa.array([None if rank is None else 99.5 - rank for rank in ranks], pa.float64()),
            ROW: pa.array(range(start, start + len(rows)), pa.int64()),
            CANDIDATE: pa.nulls(len(rows), pa.int32()),
        }
    )
    unit = Unit(f"{start:016x}", "all.parquet", "", start, start + len(rows), len(rows))
    judgments = build_judgments(table, [_judge(score) for score in scores], unit.unit_id, ())
    commit_unit(store, unit, judgments, Counts(rows=len(rows)))
    return unit


def _judge(score: float | None) -> Judgment:
    if score is None:
        return failed_judgment("it failed")
    return Judgment(score, -1.0, -1.0, score >= 0.5, Finish.COMPLETE, "", 0, 0, passage_truncated=False, error=None)
