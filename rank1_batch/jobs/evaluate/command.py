"""The command line of `jobs.evaluate`: settings in; a table or JSON, and an exit code out."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rank1_batch.cli.command import run_command
from rank1_batch.jobs.evaluate.job import run_evaluation
from rank1_batch.jobs.evaluate.report import Evaluation, build_json, build_lines, build_table
from rank1_batch.jobs.evaluate.settings import JOB, EvaluateConfig


def main(argv: Sequence[str]) -> int:
    """Run `jobs.evaluate` with these arguments; the exit code."""
    return run_command(JOB, argv, run)


def run(config: EvaluateConfig, console: Console) -> int:
    """Evaluate, and say what was found; the exit code."""
    found = run_evaluation(config)
    if config.format == "json":
        console.out(json.dumps(build_json(found), indent=2), highlight=False)
    else:
        print_evaluation(found, console)
    return 0


def print_evaluation(found: Evaluation, console: Console) -> None:
    """The measures, and below them what a person wants to know beside them."""
    console.print(build_table(found))
    console.print()
    lines = Table(show_header=False, box=None, pad_edge=False)
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for name, value in build_lines(found):
        lines.add_row(f"[dim]{name}[/]", escape(value))
    console.print(lines)
