"""The main job's command line: settings in, a job run, a table and an exit code out."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from rank1_batch.cli.command import run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.jobs.rerank.gates import FAIL, WARN, list_failures
from rank1_batch.jobs.rerank.job import Outcome, run_rerank
from rank1_batch.jobs.rerank.settings import JOB
from rank1_batch.output.ranking import RANKING_FOLDER, RUN_PATH
from rank1_batch.output.summary import Gate, RunTotals, Summary, describe_gate
from rank1_batch.settings import RerankConfig


def main(argv: Sequence[str]) -> int:
    """Run `jobs.rerank` with these arguments; the exit code."""
    return run_command(JOB, argv, run)


def run(config: RerankConfig, console: Console) -> int:
    """Run the job and say how it ended; the exit code."""
    outcome = run_rerank(config, console)
    print_outcome(outcome, console)
    return outcome.exit_code


def print_outcome(outcome: Outcome, console: Console) -> None:
    """What a person wants to know at the end."""
    summary = outcome.summary
    if outcome.nothing_to_do:
        console.print(f"nothing to do: all {summary.counts.rows} rows are judged")
    this_run = [] if outcome.nothing_to_do else run_lines(summary.this_run)
    print_lines([*summary_lines(summary), *this_run], console)
    for reason in summary.bad_files:
        console.print(f"left out: {reason}", style="yellow", markup=False, soft_wrap=True)
    for warning in summary_warnings(summary):
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    print_gates(summary.gates, console)


def print_gates(gates: list[Gate], console: Console) -> None:
    """Limits that were not kept: warnings in yellow, failures in red."""
    for gate in list_failures(gates, WARN):
        console.print(f"warning: {describe_gate(gate)}", style="yellow", markup=False, soft_wrap=True)
    for gate in list_failures(gates, FAIL):
        console.print(f"failed: {describe_gate(gate)}", style="red", markup=False, soft_wrap=True)
    if list_failures(gates, FAIL):
        text = "All rows are judged and ranked, but there is no _SUCCESS. A higher limit takes the job as it is."
        console.print(text, style="red", soft_wrap=True)


def summary_lines(summary: Summary) -> Iterator[tuple[str, str]]:
    """Names and values of what the output holds."""
    counts = summary.counts
    yield "rows", f"{counts.rows} of {summary.queries} queries, {counts.errors} errors"
    yield "true", f"{counts.true_labels} of {counts.rows - counts.errors}"
    yield "reasoning", f"{counts.complete} complete, {counts.closed} closed at the limit"
    yield "tokens", f"{counts.prompt_tokens} of prompts, {counts.trace_tokens} of reasoning"


def summary_warnings(summary: Summary) -> Iterator[str]:
    """What a person may not expect of the output."""
    if summary.dry_run:
        yield "This is a dry run (engine=scripted). No model was asked, and all scores are made up."
    if summary.duplicate_candidates:
        yield f"{summary.duplicate_candidates} candidates are there twice in their query. The better place is ranked."
    if summary.rows_not_in_run:
        ids = ", ".join(summary.ids_not_in_run)
        yield (
            f"{summary.rows_not_in_run} rows are in {RANKING_FOLDER}/ but not in {RUN_PATH}, because a TREC run cannot "
            f"hold their ids (query_id/doc_id): {ids}"
        )


def run_lines(run: RunTotals) -> Iterator[tuple[str, str]]:
    """Names and values of what this run did."""
    if run.rows_per_s:
        yield "time", "  ".join(f"{stage} {value:.1f} s" for stage, value in run.seconds.items())
        yield "rate", f"{run.rows_per_s:.1f} rows/s, {run.trace_tokens_per_s:.0f} tokens/s"
    if run.storage_retries:
        yield "storage", f"{run.storage_retries} requests were repeated"
