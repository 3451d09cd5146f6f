"""Every error that this package raises on purpose.

Rank1BatchError
├── SettingsError        the settings cannot work; lists all problems at once        exit code 2
│   ├── AccessError      permission denied or path not found; during a run it counts as a failure of the store
│   └── NodeError        a node has other versions, or does not see the input, the output or the model
├── BadFileError         an input file cannot be read in its format                  exit code 2
├── RefusedError         the output belongs to a run with other settings or input    exit code 6
├── StorageError         the store did not answer; the same command may work later   exit code 5
├── ReplicaError         replicas keep dying or hang; the same command may work later     exit code 5
├── InterruptedJobError  stopped (SIGTERM) before the end; run the same command to resume          exit code 130
├── ErrorRateError       more rows failed than `output.max_error_rate` allows        exit code 4
├── GoldenError          a replica failed the golden-set check                       exit code 8
├── EngineDiedError      the engine died; its units must be judged again             (inside a replica)
└── RowError             one row cannot be judged; becomes that row's `error`        (inside a replica)
"""

from collections.abc import Sequence

LINES_SHOWN = 10


class Rank1BatchError(Exception):
    """The root class: catch it to catch all of them. `exit_code` is the exit code of the command."""

    exit_code = 1


class SettingsError(Rank1BatchError):
    """Settings or input that cannot work. `problems` holds one sentence for each."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class AccessError(SettingsError):
    """The store denied permission, or has no such file, folder or bucket."""


class NodeError(SettingsError):
    """A node cannot take part: other versions, or it does not see the input, the output or the model's folder."""


class BadFileError(Rank1BatchError):
    """An input file cannot be read, or has changed since it was planned."""

    exit_code = 2


class RefusedError(Rank1BatchError):
    """The run would mix its rows with those of another run."""

    exit_code = 6


class StorageError(Rank1BatchError):
    """The store did not answer, refused the credentials during a run, or is full."""

    exit_code = 5


class ReplicaError(Rank1BatchError):
    """Replicas could not be started, kept dying without a unit as the cause, or judged nothing for too long."""

    exit_code = 5


class InterruptedJobError(Rank1BatchError):
    """The job was asked to stop, and stopped after the work in progress was done."""

    exit_code = 130


class ErrorRateError(Rank1BatchError):
    """The job ended because too many of its rows failed. Judged rows stay committed."""

    exit_code = 4


class GoldenError(Rank1BatchError):
    """A replica's scores differ from those of the golden set. It has judged nothing."""

    exit_code = 8


class EngineDiedError(Rank1BatchError):
    """The engine no longer answers. This is never recorded as the error of a row."""


class RowError(Rank1BatchError):
    """The row cannot be judged, now or later, on any engine."""


def list_some(lines: Sequence[str]) -> list[str]:
    """The first ten lines of a message's list, and how many more there are."""
    more = len(lines) - LINES_SHOWN
    return [*lines[:LINES_SHOWN], *([f"and {more} more"] if more > 0 else [])]
