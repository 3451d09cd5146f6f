"""`rank1-batch JOB SETTING=VALUE …`: finds the job that is asked for and starts it.

Imports a job only when it is started, so that a list of jobs or a mistyped name is answered at once.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from rank1_batch.cli.command import end, wants_help

# Set before anything imports Arrow. Arrow's own allocator keeps freed memory: about 40 of the 370 MB of a driver over
# 10⁶ rows, and 50 of the 300 MB of a replica. Ray nodes that a job starts inherit the setting.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

WRONG_USE = 2

JOBS = {
    "prepare": "make pair files from a first-stage run, its queries and its corpus",
    "rerank": "judge every query-passage pair with a Rank1 model",
    "status": "show how far a rerank job is",
    "redo": "judge chosen rows of a finished output again",
    "evaluate": "measure an order against people's grades",
    "report": "write a report that opens in a browser",
    "export": "turn judgments into training data",
    "golden": "pick pairs with known scores, to check replicas with",
}
"""Every job in the order of use, with what it does. Each has a room in `rank1_batch/jobs`."""


def main() -> NoReturn:
    """Run what this process was asked for, and exit with its code."""
    end(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run the job that the first argument names with the others; the exit code (2 if there is no such job)."""
    name, *arguments = argv or ["--help"]
    if name in JOBS:
        # Help imports only the settings of the job, because Arrow, Ray and others take seconds.
        if wants_help(arguments):
            return say(importlib.import_module(f"rank1_batch.jobs.{name}.settings").JOB.help())
        return int(importlib.import_module(f"rank1_batch.jobs.{name}.command").main(arguments))
    if name == "--version":
        return say(f"rank1-batch {version('rank1-batch')}")
    if name in ("--help", "-h"):
        return say(render_overview())
    sys.stderr.write(f"{explain_name(name)}\n")
    return WRONG_USE


def say(text: str) -> int:
    """Print a text, and return the exit code of success."""
    sys.stdout.write(f"{text}\n")
    return 0


def render_overview() -> str:
    """The jobs, a line each."""
    jobs = "\n".join(f"  {name:<10}{phrase}" for name, phrase in JOBS.items())
    return f"""\
usage: rank1-batch JOB SETTING=VALUE …
       rank1-batch JOB --help
       rank1-batch --version

Batch reranking with Rank1 models. The jobs are:

{jobs}

In a checkout, `python -m jobs.rerank …` is the same as `rank1-batch rerank …`."""


def explain_name(name: str) -> str:
    """The hint for a name that is not a job."""
    close = difflib.get_close_matches(name, JOBS, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"error: {name} is not a job.{hint} The jobs are {', '.join(JOBS)}."


if __name__ == "__main__":
    main()
