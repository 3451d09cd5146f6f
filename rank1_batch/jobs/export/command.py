"""The command line of the labels job: settings in, labels written, a table and an exit code out."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rank1_batch.cli.command import run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.jobs.export.card import CARD_PATH, describe_judge, is_dry_run, list_measures, list_rows
from rank1_batch.jobs.export.job import run_export
from rank1_batch.jobs.export.settings import JOB, ExportConfig

NOTHING_EXPORTED = 10
"""The exit code of an export without a single label."""


def main(argv: Sequence[str]) -> int:
    """Run `jobs.export` with these arguments; the exit code."""
    return run_command(JOB, argv, run)


def run(config: ExportConfig, console: Console) -> int:
    """Run the job and say what came of it; the exit code."""
    report, was_there = run_export(config)
    if was_there:
        console.print("nothing to do: these labels are there already")
    print_report(report, console)
    return 0 if report["exported"] else NOTHING_EXPORTED


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """What a person wants to know at the end, in 80 columns at most."""
    if is_dry_run(report):
        console.print("DRY RUN: no model was asked, and all labels are made up", style="yellow")
    rows = Table(show_header=False, box=None, pad_edge=False)
    for justify in ("left", "right", "right"):
        rows.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
    for name, number, share in list_rows(report):
        rows.add_row(name, str(number), share)
    console.print(rows)
    for split, counts in report["splits"].items():
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        console.print(f"{split}: {kinds}")
    print_lines(list_measures(report), console)
    if report["trust"] and report["trust"]["one_sided"]:
        console.print("The grades are all relevant or all not: they can show recall at most.", style="yellow")
    if not report["exported"]:
        console.print("Nothing was exported. Loosen the rule that left most rows out", style="yellow")
    if report["rows_not_judged"]:
        console.print(f"{report['rows_not_judged']} rows of unreadable files were never judged", style="yellow")
    console.print(f"judged by {describe_judge(report)}", markup=False)
    console.print(f"more in {CARD_PATH}", markup=False)
