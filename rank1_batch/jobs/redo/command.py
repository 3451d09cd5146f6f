"""The command line of `jobs.redo`: a condition for rows and settings in, a table and an exit code out."""

from collections.abc import Sequence

from rich.console import Console

from rank1_batch.cli.command import run_command
from rank1_batch.jobs.redo.job import run_redo
from rank1_batch.jobs.redo.settings import JOB, RedoConfig
from rank1_batch.jobs.rerank.command import print_outcome
from rank1_batch.output.recorded import restore_settings


def main(argv: Sequence[str]) -> int:
    """Run `jobs.redo` with these arguments; the exit code."""
    return run_command(JOB, argv, redo, restore_settings)


def redo(config: RedoConfig, console: Console) -> int:
    """Judge chosen rows again and say how it ended; the exit code."""
    outcome = run_redo(config, console)
    if outcome is None:
        console.print(f"nothing to do: no row where {config.where}", markup=False, soft_wrap=True)
        return 0
    print_outcome(outcome, console)
    return outcome.exit_code
