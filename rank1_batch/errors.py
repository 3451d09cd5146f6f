"""Every error that this package raises on purpose.

Rank1BatchError
├── SettingsError        what the user asked for cannot work; all problems at once   exit code 2
│   └── AccessError      no permission, or path not found. During a run this becomes StorageError
├── BadFileError         an input file that cannot be read as what it claims to be   exit code 2
├── RefusedError         the output belongs to a run with other settings or input    exit code 6
├── StorageError         the store did not answer; the same command may work later   exit code 5
├── ReplicaError         replicas die again and again; the same command may work later     exit code 5
├── InterruptedJobError  stopped by SIGTERM before all was done. The same command resumes         exit code 130
├── ErrorRateError       more rows failed than `output.max_error_rate` allows        exit code 4
├── GoldenError          a replica does not score as the golden set says             exit code 8
├── EngineDiedError      the engine is gone; its units must be judged again          (inside a replica)
└── RowError             one row cannot be judged; becomes that row's `error`        (inside a replica)
"""

from collections.abc import Sequence


class Rank1BatchError(Exception):
    """The root: catch this to catch all of them. `exit_code` is what the command line returns."""

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
    """A store that gives no permission, or has no such file, folder or bucket."""


class BadFileError(Rank1BatchError):
    """An input file that is no readable Parquet file, or changed since it was planned."""

    exit_code = 2


class RefusedError(Rank1BatchError):
    """A run that would mix its rows with those of another one."""

    exit_code = 6


class StorageError(Rank1BatchError):
    """A store that did not answer, refused the credentials during a run, or is full."""

    exit_code = 5


class ReplicaError(Rank1BatchError):
    """Replicas that could not be started, or kept dying with no unit to blame."""

    exit_code = 5


class InterruptedJobError(Rank1BatchError):
    """A job that was asked to stop, and did so with nothing under way."""

    exit_code = 130


class ErrorRateError(Rank1BatchError):
    """A job that ended because too many of its rows failed. What was judged stays committed."""

    exit_code = 4


class GoldenError(Rank1BatchError):
    """A replica whose scores differ from those of the golden set. It has judged nothing."""

    exit_code = 8


class EngineDiedError(Rank1BatchError):
    """An engine that answers no more. Not a row's fault: no row may be blamed for it."""


class RowError(Rank1BatchError):
    """A row that cannot be judged, now or later, on any engine."""
