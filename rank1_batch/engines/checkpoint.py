"""Which checkpoint a model's name means: a commit of the hub, or the content of a folder.

Knows nothing about vLLM.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rank1_batch.engines.causes import blames_settings, list_causes
from rank1_batch.errors import ReplicaError, SettingsError
from rank1_batch.settings import ModelConfig

COMMIT = re.compile(r"[0-9a-f]{40}")

HUB_ANSWERS_S = 20.0

HUB_MODULES = ("huggingface_hub", "httpx", "requests")
"""Packages whose errors come out of a request to the hub. They have no base class in common."""

NO_PART_OF_A_MODEL = (".md", ".png", ".jpg", ".lock")

REMEMBERED_BYTES = 1 << 20
"""The digest of a file of this size or more is remembered: a file of weights is read once, and not at every start."""

READ_AT_ONCE = 4


class Commit(NamedTuple):
    """A commit of the hub, and how it was found, for people."""

    sha: str
    source: str


def find_folder(model: ModelConfig) -> Path | None:
    """The folder that holds a local checkpoint; None for one of the hub."""
    folder = Path(model.name).expanduser()
    return folder if folder.is_dir() else None


def find_commit(model: ModelConfig) -> Commit:
    """The commit that a revision of a model means now, or in this machine's cache where the hub does not answer.

    Raises SettingsError if the hub does not know it, or the folder is not there, and ReplicaError if the hub is away.
    """
    if model.name.startswith(("/", "~", ".")):
        raise SettingsError([f"model.name: there is no folder {model.name} on this machine, which starts the job"])
    if COMMIT.fullmatch(model.revision or ""):
        return Commit(str(model.revision), "as model.revision says")
    try:
        return Commit(_ask_hub(model), "as the hub says")
    except Exception as error:
        if not type(error).__module__.startswith(HUB_MODULES):
            raise
        reason = str(error).partition("\n")[0]
        if cached := _find_cached(model):
            return Commit(cached, f"from this machine's cache, as the hub did not say ({reason})")
        problem = f"the hub did not say which commit {model.revision or 'main'} is ({reason})"
        hint = "Give a commit as model.revision, or a folder as model.name."
        text = f"model.name={model.name}: {problem}. {hint}"
        raise (SettingsError([text]) if blames_settings(list_causes(error)) else ReplicaError(text)) from error


def _ask_hub(model: ModelConfig) -> str:
    from huggingface_hub import model_info

    return str(model_info(model.name, revision=model.revision, timeout=HUB_ANSWERS_S).sha)


def _find_cached(model: ModelConfig) -> str | None:
    """The commit of the snapshot of this revision that was downloaded last."""
    from huggingface_hub import try_to_load_from_cache

    with contextlib.suppress(ValueError):  # a name that no model of the hub could have
        found = try_to_load_from_cache(model.name, "config.json", revision=model.revision)
        return Path(found).parent.name if isinstance(found, str) else None
    return None


def hash_folder(folder: Path) -> str:
    """A digest of everything in a folder that belongs to a model: weights, configuration and tokenizer."""
    files = list(_list_model_files(folder))
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        digests = list(pool.map(_hash_file, files))
    lines = (f"{file.relative_to(folder)} {digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def _list_model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix not in NO_PART_OF_A_MODEL:
            yield path


def _hash_file(path: Path) -> str:
    """The SHA-256 of a file. That of a large file is remembered by its place, size and time of change."""
    stat = path.stat()
    if stat.st_size < REMEMBERED_BYTES:
        return _read_digest(path)
    key = hashlib.sha256(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()
    memory = _memory_folder() / key
    with contextlib.suppress(OSError):
        return memory.read_text()
    digest = _read_digest(path)
    _remember(memory, digest)
    return digest


def _read_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remember(memory: Path, digest: str) -> None:
    """Write a digest down. Where this machine has no place for it, the file is read again next time."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary = memory.with_suffix(f".{os.urandom(8).hex()}")
        temporary.write_text(digest)
        temporary.replace(memory)


def _memory_folder() -> Path:
    cache = os.environ.get("RANK1_BATCH_CACHE") or Path.home() / ".cache" / "rank1_batch"
    return Path(cache) / "digests"
