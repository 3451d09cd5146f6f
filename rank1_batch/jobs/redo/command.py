"""The command line of `jobs.redo`: a condition for rows and settings in, a table and an exit code out."""

from collections.abc import Sequence

from rich.console import Console

from rank1_batch.cli.command import Job, run_command
from rank1_batch.jobs.redo.job import run_redo
from rank1_batch.jobs.redo.settings import RedoConfig
from rank1_batch.jobs.rerank.command import print_outcome
from rank1_batch.output.recorded import restore_settings
from rank1_batch.settings import check_config

USAGE = """\
usage: python -m jobs.redo output.path=… where=CONDITION [SETTING=VALUE …]

Judges again the rows of a finished output for which an SQL condition holds, and keeps all others.
Reasoning that was closed at its budget is gone on with. Settings are those of the run that made
the output; of what shapes scores only the policy may change.

  python -m jobs.redo output.path=s3://bucket/judged where="finish = 'closed'" policy.max_thinking_tokens=16384
  python -m jobs.redo output.path=s3://bucket/judged where="finish = 'error'"

engine.env is not recorded with a run: name it again (or engine=vllm_cpu).
"""

JOB = Job("redo", USAGE, ("engine", "policy"), restore_settings)


def main(argv: Sequence[str]) -> int:
    """Run `jobs.redo` with these arguments; the exit code."""
    return run_command(JOB, argv, RedoConfig, check_config, redo)


def redo(config: RedoConfig, console: Console) -> int:
    """Judge chosen rows again and say how it ended; the exit code."""
    outcome = run_redo(config, console)
    if outcome is None:
        console.print(f"nothing to do: no row where {config.where}", markup=False, soft_wrap=True)
        return 0
    print_outcome(outcome, console)
    return outcome.exit_code
