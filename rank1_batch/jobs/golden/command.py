"""The command line of `jobs.golden`: settings in, a golden set and an exit code out."""

from collections.abc import Sequence

from rank1_batch.cli.command import run_command
from rank1_batch.jobs.golden.job import run
from rank1_batch.jobs.golden.settings import JOB


def main(argv: Sequence[str]) -> int:
    """Run `jobs.golden` with these arguments; the exit code."""
    return run_command(JOB, argv, run)
