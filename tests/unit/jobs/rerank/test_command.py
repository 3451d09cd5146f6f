"""What a person reads when a job has ended."""

import io
from dataclasses import replace

from rich.console import Console

from rank1_batch.jobs.rerank.command import print_outcome
from rank1_batch.jobs.rerank.job import Outcome
from rank1_batch.output.counts import Counts
from rank1_batch.output.summary import Summary

SUMMARY = Summary(Counts(rows=3, complete=3), queries=1)


def read_closing(summary: Summary) -> str:
    file = io.StringIO()
    print_outcome(Outcome(summary, 0), Console(file=file, width=80))
    return file.getvalue()


def test_a_healthy_job_ends_without_a_warning() -> None:
    assert "warning" not in read_closing(SUMMARY)


def test_rows_that_the_run_lacks_are_counted_with_examples() -> None:
    shown = read_closing(replace(SUMMARY, rows_not_in_run=2, ids_not_in_run=["'a b'/'d'", "'q'/''"]))
    assert "warning: 2 rows are in ranking/ but not in run.trec.gz" in shown
    assert "'a b'/'d', 'q'/''" in shown


def test_a_dry_run_and_candidates_that_are_there_twice_are_told() -> None:
    shown = read_closing(replace(SUMMARY, dry_run=True, duplicate_candidates=4))
    assert "warning: This is a dry run (engine=scripted). No model was asked" in shown
    assert "warning: 4 candidates are there twice" in shown
