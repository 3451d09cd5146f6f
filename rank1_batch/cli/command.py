"""The command line that all jobs share: help, settings, errors in one place, and an exit code out."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, NoReturn, TypeVar

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rank1_batch.cli.help import render_help
from rank1_batch.cli.signals import interrupt_on_signals
from rank1_batch.errors import Rank1BatchError
from rank1_batch.storage.trouble import watch_stores

INTERRUPTED = 130

T = TypeVar("T")


class Job(NamedTuple, Generic[T]):
    """The parts of a command line. `name` is also the name of `conf/<name>.yaml`.

    `about` is the first text of `--help`. `check` returns a sentence for each problem of the settings.
    """

    name: str
    about: str
    schema: type[T]
    check: Callable[[T], list[str]]

    def help(self) -> str:
        """What `--help` shows."""
        return render_help(self.name, self.about, self.schema())


def wants_help(argv: Sequence[str]) -> bool:
    """Whether these arguments ask for help."""
    return "--help" in argv or "-h" in argv


def run_command(
    job: Job[T],
    argv: Sequence[str],
    run: Callable[[T, Console], int],
    restore: Callable[[DictConfig, Sequence[str]], DictConfig] | None = None,
) -> int:
    """Run a job with these arguments: its exit code (docs/exit-codes.md lists them).

    `restore` fills in settings that another run recorded (`compose.load_settings`).
    """
    # A copy of stdout: while Ray works, what others print goes to a file (cluster.divert_output).
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as out:
        console = Console(file=out, highlight=False)
        if wants_help(argv):
            console.out(job.help())
            return 0
        return _run_with(console, job, argv, run, restore)


def _run_with(
    console: Console,
    job: Job[T],
    argv: Sequence[str],
    run: Callable[[T, Console], int],
    restore: Callable[[DictConfig, Sequence[str]], DictConfig] | None,
) -> int:
    # Imported here, because Hydra would take most of the time of --help.
    from rank1_batch.cli.compose import compose_settings, load_settings

    overrides = [argument for argument in argv if argument != "--settings"]
    errors = Console(stderr=True, highlight=False)
    try:
        with interrupt_on_signals(), watch_stores(lambda text: tell(console, text)):
            if "--settings" in argv:
                config = compose_settings(overrides, job.name, job.schema)
                console.out(OmegaConf.to_yaml(restore(config, overrides) if restore else config), end="")
                return 0
            return run(load_settings(overrides, job.name, job.schema, job.check, restore), console)
    except Rank1BatchError as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        errors.print("interrupted: all committed work is kept; run the same command to resume")
        return INTERRUPTED


def end(exit_code: int) -> NoReturn:
    """Exit at once, without the interpreter's own shutdown. Call it only when all work is done.

    Arrow's threads may still run then. If one of them frees a Python object, such as a file of a store, while the
    interpreter shuts down, the process aborts (CPython issue 87135, until 3.14). Of 120 short runs that read such
    files, 4 ended with SIGABRT instead of their exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(exit_code)


def tell(console: Console, text: str) -> None:
    """Print a line as it is, without markup."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
