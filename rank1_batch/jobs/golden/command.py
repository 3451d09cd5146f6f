"""Moved here."""

from collections.abc import Sequence

from rank1_batch.cli.command import Job, run_command
from rank1_batch.jobs.golden.job import run
from rank1_batch.jobs.golden.settings import GoldenMakerConfig, check_golden_maker

USAGE = """\
usage: python -m jobs.golden [--help | --settings] SETTING=VALUE …

Makes a golden set of a run: a few pairs with their reasoning and scores, which every replica of a
later job judges before it works (golden.path=… of jobs.rerank).

  python -m jobs.golden input.path=s3://bucket/pairs output.path=s3://bucket/judged golden.path=golden.parquet

pairs=16 is how many. They are of all scores that the run has, and of few tokens.
"""

JOB = Job("golden", USAGE)


def main(argv: Sequence[str]) -> int:
    """Run `jobs.golden` with these arguments; the exit code (docs/exit-codes.md lists them)."""
    return run_command(JOB, argv, GoldenMakerConfig, check_golden_maker, run)
