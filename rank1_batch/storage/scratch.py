"""Folders for temporary files of this process. Those that killed processes left are removed by the next one."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX, LOCK, FILES = "rank1_batch-", "lock", "files"


@contextmanager
def scratch_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """An empty folder, gone after the block: in `parent`, or where the system keeps temporary files."""
    parent = Path(parent or tempfile.gettempdir()).expanduser()
    remove_left_folders(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name, (Path(name) / "new").open("w") as lock:
        # The lock ends with this process, however it ends. Its name says that it is held already.
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(Path(name) / LOCK)
        files = Path(name) / FILES
        files.mkdir()
        yield files


def remove_left_folders(parent: Path) -> None:
    """Remove the folders of processes that are gone. Process numbers say nothing across containers, and locks do."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:  # another's folder, or one that is being removed
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
