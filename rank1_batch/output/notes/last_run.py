"""_rank1/last_run.json: when the last run on an output began, and how it ended."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rank1_batch.errors import BadFileError, Rank1BatchError, StorageError
from rank1_batch.output.layout import LAST_RUN_PATH
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.store import Store

_INTERRUPTED, _FAILED = 130, 1


@dataclass
class LastRun:
    """A run. Times are seconds since 1970 by its clock. `ended_at` and `exit_code` are None until it has ended.

    They stay None if the run was killed, or if the store did not answer at its end.
    """

    run_id: str
    began_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    message: str = ""


@contextmanager
def record_run(store: Store, run_id: str) -> Iterator[LastRun]:
    """Record the start of a run, and after the block how it ended. The block sets `exit_code` if it is not 0."""
    run = LastRun(run_id, time.time())
    write_document(store, LAST_RUN_PATH, run)
    run.exit_code = 0
    try:
        yield run
    except StorageError:
        raise  # the store is away, and recording this would only wait for it
    except BaseException as error:
        run.exit_code, run.message = _describe(error)
        with contextlib.suppress(Rank1BatchError):
            _record_end(store, run)
        raise
    _record_end(store, run)


def read_last_run(store: Store) -> LastRun | None:
    """The last run. None if there was none, or if its record is damaged."""
    with contextlib.suppress(BadFileError):
        return read_document(store, LAST_RUN_PATH, LastRun)
    return None


def _describe(error: BaseException) -> tuple[int, str]:
    if isinstance(error, Rank1BatchError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED, "interrupted"
    return _FAILED, f"{type(error).__name__}: {error}"


def _record_end(store: Store, run: LastRun) -> None:
    """Write the end of a run, if no other run has begun since."""
    found = read_last_run(store)
    if found is None or found.run_id == run.run_id:
        write_document(store, LAST_RUN_PATH, replace(run, ended_at=time.time()))
