"""The command line of `jobs.report`: settings in, a report written, and where it is."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from rank1_batch.cli.command import run_command, tell
from rank1_batch.cli.console import print_lines
from rank1_batch.jobs.report.job import Written, estimate_report, run_report
from rank1_batch.jobs.report.page import PAGE_PATH
from rank1_batch.jobs.report.settings import JOB, ReportJobConfig

MEGABYTE = 1e6


def main(argv: Sequence[str]) -> int:
    """Run `jobs.report` with these arguments; the exit code."""
    return run_command(JOB, argv, run)


def run(config: ReportJobConfig, console: Console) -> int:
    """Write the report, or say how large it would be; the exit code."""
    if config.dry_run:
        output, everything, chosen = estimate_report(config)
        sizes = [("traces=all", _format_size(everything)), ("traces=chosen", _format_size(chosen))]
        print_lines([("rows", f"{output.rows:,}"), *((name, f"about {size}") for name, size in sizes)], console)
        return 0
    written = run_report(config)
    print_lines(describe_report(written), console)
    tell(console, f"open {written.url}/{PAGE_PATH}")
    if written.missing:
        console.print(f"no texts of queries and passages: {written.missing}", style="yellow", markup=False)
    return 0


def describe_report(written: Written) -> Iterator[tuple[str, str]]:
    """Names and values of the lines at the end."""
    output = written.output
    yield "rows", f"{output.rows:,} of {written.queries:,} queries"
    if not output.finished:
        yield "state", f"not finished: {output.rows:,} of {output.rows_planned:,} rows are judged"
    files = sum(sizes.files for sizes in written.sizes.values()) + 1
    yield "size", f"{_format_size(written.size_bytes)} in {files} files"


def _format_size(size_bytes: float) -> str:
    return f"{max(size_bytes / MEGABYTE, 0.1):,.1f} MB"
