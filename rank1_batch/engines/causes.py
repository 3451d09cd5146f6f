"""Why an engine could not start: its own root line, and whether the settings are to blame or this machine.

vLLM starts its engine in another process. If that fails, it raises "Engine core initialization failed", and only the
log of the process has the cause. Checked with the texts of vLLM 0.32.0, transformers 5 and huggingface_hub 1.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rank1_batch.errors import ReplicaError, SettingsError

ROOT_ELSEWHERE = re.compile(r"initialization failed|root cause", re.IGNORECASE)
"""What vLLM says in one process when the cause is in the log of another."""

LOGGED = re.compile(
    r"^(?:\(.+? pid=\d+\) [A-Z]+ [\d-]+ [\d:]+ \[\S+\] )?(?P<kind>[\w.]*(?:Error|Exception)): (?P<text>.+)$"
)
"""The last line of a traceback, as Python prints it, or with what vLLM's logger puts before it."""

HUB_ANSWERED = {"RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError", "BadRequestError"}
"""Errors of huggingface_hub that say that the name is wrong, or that the token may not read it."""

TROUBLE_KINDS = {
    *("ConnectionError", "ConnectError", "TimeoutError", "TransportError", "gaierror", "HfHubHTTPError"),
    *("LocalEntryNotFoundError", "OfflineModeIsEnabled", "XetDownloadError"),
    *("MemoryError", "OutOfMemoryError", "AcceleratorError", "DistBackendError"),
}
"""Errors that say nothing about the settings: the network, the hub, the GPU. Subclasses count, too."""

TROUBLE_TEXT = re.compile(
    r"couldn't connect|connection error|server error|too many requests|no space left|disk quota|read-only file system"
    r"|input/output error|stale file handle|permissionerror|out of memory|cannot allocate memory"
    r"|(free|available) memory on"
    r"|cuda (error|driver|runtime)|no cuda|nccl|nvml|rocm|hip error",
    re.IGNORECASE,
)

SETTINGS_KINDS = {"TypeError", "ValueError", "NotImplementedError"}

SETTINGS_TEXT = re.compile(
    r"cannot find any model weights|does not appear to have|not a valid (model|git) identifier|gated repo",
    re.IGNORECASE,
)


class Cause(NamedTuple):
    """One error of a chain: the names of its class and of all classes above it, and its text."""

    kinds: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.kinds[0]}: {self.text}"


@contextmanager
def watch_output() -> "Iterator[_Output]":
    """What this process and its children write to stdout and stderr in the block, where that goes to files.

    Ray sends the output of its workers to files.
    """
    yield _Output({fd: os.fstat(fd).st_size for fd in (1, 2) if stat.S_ISREG(os.fstat(fd).st_mode)})


class _Output:
    def __init__(self, begins: dict[int, int]) -> None:
        self._begins = begins

    def read(self) -> str:
        """Everything so far."""
        return "\n".join(self._read(descriptor, begin) for descriptor, begin in self._begins.items())

    def _read(self, descriptor: int, begin: int) -> str:
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as file:
            file.seek(begin)
            return file.read().decode(errors="replace")


def explain_start(model: str, error: BaseException, printed: str) -> SettingsError | ReplicaError:
    """The error to raise for one that vLLM raised at its start. `printed` is its output."""
    causes = list_causes(error)
    if ROOT_ELSEWHERE.search(str(error)) and (root := find_root(printed)):
        causes = [root]
    line = str(causes[0]) if len(causes) == 1 else f"{causes[0]} (caused by {causes[-1]})"
    if blames_settings(causes):
        return SettingsError([f"{model}: vLLM cannot load it with these settings: {line}"])
    return ReplicaError(f"{model}: vLLM could not start on this machine: {line}")


def blames_settings(causes: list[Cause]) -> bool:
    """Whether these causes say that the settings are wrong, on any machine."""
    kinds = {kind for cause in causes for kind in cause.kinds}
    if kinds & HUB_ANSWERED:
        return True
    if kinds & TROUBLE_KINDS or any(TROUBLE_TEXT.search(cause.text) for cause in causes):
        return False
    return bool(kinds & SETTINGS_KINDS) or any(SETTINGS_TEXT.search(cause.text) for cause in causes)


def list_causes(error: BaseException) -> list[Cause]:
    """An error and what caused it, the root last."""
    causes, found = [], set[int]()
    following: BaseException | None = error
    while following is not None and id(following) not in found:
        found.add(id(following))
        causes.append(Cause(tuple(kind.__name__ for kind in type(following).__mro__), str(following)))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return causes


def find_root(printed: str) -> Cause | None:
    """The last error in a log that does not point to another process. None if there is no error."""
    lines = [match for line in printed.splitlines() if (match := LOGGED.match(line))]
    roots = [match for match in lines if not ROOT_ELSEWHERE.search(match["text"])]
    return Cause((roots[-1]["kind"].rpartition(".")[2],), roots[-1]["text"]) if roots else None
