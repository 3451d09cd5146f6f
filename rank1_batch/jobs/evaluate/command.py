"""The command line of `jobs.evaluate`: settings in; a table or JSON, and an exit code out."""

import json
from collections.abc import Sequence

from rich.console import Console

from rank1_batch.cli.command import run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.jobs.evaluate.job import run_evaluations
from rank1_batch.jobs.evaluate.report import Evaluation, build_json, build_lines, build_table, find_warning
from rank1_batch.jobs.evaluate.settings import JOB, EvaluateConfig


def main(argv: Sequence[str]) -> int:
    """Run `jobs.evaluate` with these arguments; the exit code."""
    return run_command(JOB, argv, run)


def run(config: EvaluateConfig, console: Console) -> int:
    """Evaluate, and say what was found; the exit code."""
    found = run_evaluations(config)
    if config.format == "json":
        told = {name: build_json(one) for name, one in found.items()}
        console.out(json.dumps(told.get("", told), indent=2), highlight=False)
        return 0
    for name, one in found.items():
        if name:
            console.print(f"qrels: {name}", style="bold", markup=False)
        print_evaluation(one, console)
    return 0


def print_evaluation(found: Evaluation, console: Console) -> None:
    """The measures. Above them stands what could make them misleading, and below them what explains them."""
    if warning := find_warning(found):
        console.print(warning, style="yellow", markup=False, soft_wrap=True)
        console.print()
    console.print(build_table(found))
    console.print()
    print_lines(build_lines(found), console)
