"""The command line of `jobs.prepare`: settings in, shards and a table out."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from rank1_batch.cli.command import run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.collection.lines import MOST_LINES
from rank1_batch.jobs.prepare.job import BROKEN_LINES_PATH, PROBLEMS_PATH, Outcome, run_prepare
from rank1_batch.jobs.prepare.settings import JOB, PrepareConfig


def main(argv: Sequence[str]) -> int:
    """Run `jobs.prepare` with these arguments; the exit code."""
    return run_command(JOB, argv, run)


def run(config: PrepareConfig, console: Console) -> int:
    """Prepare the pairs and say what came of it; the exit code."""
    print_outcome(run_prepare(config, console), console)
    return 0


def print_outcome(outcome: Outcome, console: Console) -> None:
    """What a person wants to know at the end."""
    if outcome.nothing_to_do:
        console.print("nothing to do: the pairs are prepared", highlight=False)
    print_lines(summary_lines(outcome.summary), console)
    for text in find_warnings(outcome):
        console.print(text, style="yellow", markup=False, soft_wrap=True)


def find_warnings(outcome: Outcome) -> Iterator[str]:
    """What a person should look at, and where."""
    if problems := outcome.summary["problems"]:
        told = ", ".join(f"{count} {kind}" for kind, count in problems.items())
        yield f"problems: {told}; all are in {outcome.url}/{PROBLEMS_PATH}"
    if broken := outcome.summary["broken_lines"]:
        which = "all" if broken <= MOST_LINES else f"the first {MOST_LINES}"
        yield f"skipped: {broken} lines that could not be read; {which} are in {outcome.url}/{BROKEN_LINES_PATH}"


def summary_lines(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of the closing table."""
    found = summary["found"]
    depth = summary["first_stage"]["depth"]
    cut = f", {found['candidates']} within depth {depth}" if depth else ""
    yield "run", f"{found['run_lines']} candidates of {found['queries']} queries{cut}"
    removed = summary["removed"]
    if any(removed.values()):
        yield "removed", f"{removed['excluded']} excluded candidates, {removed['identical_ids']} with their query's id"
    if found["queries_with_instruction"]:
        yield "instructions", f"for {found['queries_with_instruction']} queries"
    yield (
        "corpus",
        f"{found['passages_read']} passages read, {found['passages_found']} of {found['passages_needed']} found",
    )
    yield "pairs", f"{summary['pairs']} in {summary['shards']} shards, {summary['left_out']} left out"
