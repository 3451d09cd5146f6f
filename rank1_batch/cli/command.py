"""The command line that all jobs share: help, settings, errors in one place, and an exit code out."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn, TypeVar

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rank1_batch.cli.choices import list_choices
from rank1_batch.cli.compose import compose_settings, load_settings
from rank1_batch.errors import Rank1BatchError

INTERRUPTED = 130

T = TypeVar("T")


class Job(NamedTuple):
    """What a command line is made of. `name` is that of `conf/<name>.yaml`; `groups` those of its choices.

    `restore` fills in settings that another run recorded (`settings.load_settings`).
    """

    name: str
    usage: str
    groups: Sequence[str] = ()
    restore: Callable[[DictConfig, Sequence[str]], DictConfig] | None = None


def run_command(
    job: Job, argv: Sequence[str], schema: type[T], check: Callable[[T], list[str]], run: Callable[[T, Console], int]
) -> int:
    """Run a job with these arguments: its exit code (docs/exit-codes.md lists them)."""
    # A copy of stdout: while Ray works, what others print goes to a file (cluster.divert_output).
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as out:
        return _run_with(Console(file=out, highlight=False), job, argv, schema, check, run)


def _run_with(
    console: Console,
    job: Job,
    argv: Sequence[str],
    schema: type[T],
    check: Callable[[T], list[str]],
    run: Callable[[T, Console], int],
) -> int:
    if "--help" in argv or "-h" in argv:
        console.print(job.usage, markup=False, soft_wrap=True)
        for group in job.groups:
            console.print(f"{group}: {', '.join(list_choices()[group])}", markup=False)
        return 0
    overrides = [argument for argument in argv if argument != "--settings"]
    errors = Console(stderr=True, highlight=False)
    try:
        if "--settings" in argv:
            console.out(OmegaConf.to_yaml(compose_settings(overrides, job.name, schema)), end="")
            return 0
        return run(load_settings(overrides, job.name, schema, check, job.restore), console)
    except Rank1BatchError as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        errors.print("interrupted: what was done is kept, and the same command goes on")
        return INTERRUPTED


def end(exit_code: int) -> NoReturn:
    """End this process at once: nothing may be left to do for it.

    Arrow's threads may outlive what they read. One that lets go of a Python object, say a file of a store, while the
    interpreter takes itself down aborts the process (CPython's issue 87135, until 3.14): of short runs that read such
    files, 4 in 120 ended with SIGABRT in place of their exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(exit_code)


def tell(console: Console, text: str) -> None:
    """A line for people, as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
