"""The command line of `jobs.prepare`: settings in, shards and a table out."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from rank1_batch.cli.command import Job, run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.jobs.prepare.job import PROBLEMS_PATH, Outcome, run_prepare
from rank1_batch.jobs.prepare.settings import PrepareConfig, check_config

USAGE = """\
usage: python -m jobs.prepare [--help | --settings] SETTING=VALUE …

Makes the pair shards that jobs.rerank reads from a first-stage run, its queries and its corpus.

  python -m jobs.prepare run=bm25.trec.gz queries=beir/scifact corpus=beir/scifact output.path=s3://bucket/pairs

run           TREC (six columns), TSV (three), score.json, Parquet; .gz .bz2 .zst; files, folders, globs, lists
run_format    auto, or trec, tsv_score (query_id doc_id score), tsv_rank (… rank, MS MARCO), json, parquet
queries       a folder in BEIR's layout, JSONL, TSV (query_id, text), Parquet; local, s3:// or gs://
corpus        the same, of passages; ir_datasets:ID also serves as run, queries and corpus
instructions  a file of query_id and instruction, where the queries have no instruction column
depth         candidates a query, the best; all of the run's if not given
on_problem    leave_out (pairs without text are left out and listed), keep (the judge makes them
              rows with an error) or fail
output.shard_rows, memory_gb, scratch, run_columns, queries_columns, corpus_columns: docs/configuration.md

--settings prints all settings as they would be, and starts nothing.
"""

JOB = Job("prepare", USAGE)


def main(argv: Sequence[str]) -> int:
    """Run `jobs.prepare` with these arguments; the exit code (docs/exit-codes.md lists them)."""
    return run_command(JOB, argv, PrepareConfig, check_config, run)


def run(config: PrepareConfig, console: Console) -> int:
    """Prepare the pairs and say what came of it; the exit code."""
    print_outcome(run_prepare(config, console), console)
    return 0


def print_outcome(outcome: Outcome, console: Console) -> None:
    """What a person wants to know at the end."""
    if outcome.nothing_to_do:
        console.print("nothing to do: the pairs are prepared", highlight=False)
    print_lines(summary_lines(outcome.summary), console)
    if problems := outcome.summary["problems"]:
        told = ", ".join(f"{count} {kind}" for kind, count in problems.items())
        text = f"problems: {told}; all are in {outcome.url}/{PROBLEMS_PATH}"
        console.print(text, style="yellow", markup=False, soft_wrap=True)


def summary_lines(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of the closing table."""
    found = summary["found"]
    depth = summary["first_stage"]["depth"]
    cut = f", {found['candidates']} within depth {depth}" if depth else ""
    yield "run", f"{found['run_lines']} candidates of {found['queries']} queries{cut}"
    if found["queries_with_instruction"]:
        yield "instructions", f"for {found['queries_with_instruction']} queries"
    yield (
        "corpus",
        f"{found['passages_read']} passages read, {found['passages_found']} of {found['passages_needed']} found",
    )
    yield "pairs", f"{summary['pairs']} in {summary['shards']} shards, {summary['left_out']} left out"
