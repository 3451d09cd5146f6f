"""Finds the shards that input.path names, and checks that they have not changed since they were planned."""

import hashlib
import os.path
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rank1_batch.errors import RefusedError, SettingsError, list_some
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import InputConfig, input_paths
from rank1_batch.storage.finding import Found, find_each, name_some
from rank1_batch.storage.store import FileInfo, Store, is_identified, is_local, open_file, store_errors

SHARD_SUFFIXES = (".parquet", ".parq", ".pq")

MOST_DIGESTED_BYTES = 1 << 30
"""Reading a larger file would delay the start of a job. A copy of such a file counts as another file."""

FILES_DIGESTED_AT_ONCE, DIGEST_BLOCK_BYTES = 8, 4 << 20


def open_input(config: InputConfig) -> tuple[Store, list[FileInfo]]:
    """The Parquet files that `input.path` names, and the folder that all of them are relative to.

    Raises SettingsError that lists every path without Parquet files.
    """
    return _join_inputs(find_each("input.path", input_paths(config), _choose_shards))


def _choose_shards(found: Found) -> list[FileInfo]:
    """The shards in a folder, or every file that a path or glob names."""
    chosen = [file for file in found.files if is_shard(file.path)] if found.whole_folder else found.files
    if not chosen:
        others = f"; found {name_some([file.path for file in found.files])}" if found.files else ""
        raise SettingsError([f"{found.path} has no Parquet files (*.parquet){others}"])
    return chosen


def is_shard(path: str) -> bool:
    """Whether a file in a folder is input: its name ends like Parquet, and it is not hidden (`_temporary/`, `.tmp`)."""
    hidden = any(part.startswith(("_", ".")) for part in path.split("/"))
    return path.endswith(SHARD_SUFFIXES) and not hidden


class KnownFile(NamedTuple):
    """A planned file: its identity then, and a digest of its content."""

    identity: str
    digest: str


def match_planned_files(
    store: Store, files: Sequence[FileInfo], planned: Iterable[Unit], known: Mapping[str, KnownFile]
) -> dict[str, FileInfo]:
    """For each path of the plan, the file that holds the same bytes now. Its path may have more or fewer folders.

    `known` are digests of the planned files, as far as they were taken. Raises RefusedError where a file is gone or has
    changed.
    """
    then = {unit.path: unit.identity for unit in planned}
    _check_identified(store, then)
    there = {file.path: file for file in files}
    names: dict[str, list[FileInfo]] = {}
    for file in files:
        names.setdefault(Path(file.path).name, []).append(file)
    now, problems = dict[str, FileInfo](), list[str]()
    for path, identity in then.items():
        # First the file at the same path. Other folders come before a path when input.path names more of them.
        candidates = [there[path]] if path in there else _list_nested(path, names)
        same = (file for file in candidates if _is_same(store, file, identity, known.get(path)))
        if found := next(same, None):
            now[path] = found
        else:
            problems.append(f"  {path} {'changed' if path in there else 'is missing'}")
    if problems:
        raise RefusedError(
            f"{store.url}: the input has changed since this job was planned.\n" + "\n".join(list_some(problems)) + "\n"
            "Put the old files back, or judge the new ones with another output.path."
        )
    return now


def check_planned_files(store: Store, files: Sequence[FileInfo], planned: Sequence[Unit]) -> None:
    """Raises RefusedError if a file of the plan is missing or has changed."""
    match_planned_files(store, files, planned, {})


def name_as_planned(files: Sequence[FileInfo], now: Mapping[str, FileInfo], planned: Iterable[Unit]) -> list[FileInfo]:
    """The files by path. Files of the plan have the path and the identity that they had when it was made."""
    then = {now[unit.path].path: (unit.path, unit.identity) for unit in planned}
    named = [
        file._replace(path=path, identity=identity)
        for file in files
        for path, identity in [then.get(file.path, (file.path, file.identity))]
    ]
    return sorted(named)


def find_now(units: Sequence[Unit], now: Mapping[str, FileInfo]) -> list[Unit]:
    """The units with the path and the identity that their files have now. Their ids stay."""
    return [
        unit._replace(path=now[unit.path].path, identity=now[unit.path].identity) if unit.path in now else unit
        for unit in units
    ]


def digest_files(store: Store, files: Sequence[FileInfo]) -> dict[str, KnownFile]:
    """Digests of files on a disk, by path. Object stores have them as identities. Very large files are left out."""
    if not is_local(store):
        return {}
    chosen = [file for file in files if file.size_bytes <= MOST_DIGESTED_BYTES]
    with ThreadPoolExecutor(FILES_DIGESTED_AT_ONCE) as pool:
        digests = pool.map(lambda file: _digest(store, file), chosen)
        return {file.path: KnownFile(file.identity, digest) for file, digest in zip(chosen, digests, strict=True)}


def _check_identified(store: Store, then: Mapping[str, str]) -> None:
    """Raises RefusedError if a store gave so little about a planned file that nobody can know whether it changed."""
    unknown = [path for path, identity in then.items() if not is_identified(identity)]
    if unknown:
        raise RefusedError(
            f"{store.url}: this store gives only the size of {name_some(unknown)}, so nobody can know whether they "
            "changed since this job was planned. Copy the input to a disk or an object store, and use another "
            "output.path."
        )


def _list_nested(path: str, names: Mapping[str, list[FileInfo]]) -> list[FileInfo]:
    """Files whose path ends with this one, or with which this one ends."""
    found = names.get(Path(path).name, [])
    return [file for file in found if f"/{file.path}".endswith(f"/{path}") or f"/{path}".endswith(f"/{file.path}")]


def _is_same(store: Store, file: FileInfo, identity: str, known: KnownFile | None) -> bool:
    if file.identity == identity:
        return True
    return known is not None and known.identity == identity and known.digest == _digest(store, file)


def _digest(store: Store, file: FileInfo) -> str:
    """A digest of the whole content, and its size."""
    with store_errors(store, file.path), open_file(store, file.path) as opened:
        digest = hashlib.blake2b(digest_size=16)
        while block := opened.read(DIGEST_BLOCK_BYTES):
            digest.update(block)
    return f"{file.size_bytes}-{digest.hexdigest()}"


def _join_inputs(found: Sequence[tuple[Store, list[FileInfo]]]) -> tuple[Store, list[FileInfo]]:
    """Several inputs as one. Their files become relative to the folder that all have in common."""
    first = found[0][0]
    if any(type(store.fs) is not type(first.fs) for store, _ in found):
        raise SettingsError(["input.path names different kinds of storage; use a separate job for each"])
    root = os.path.commonpath([store.root for store, _ in found]) if len(found) > 1 else first.root
    if not root:
        raise SettingsError(["input.path names different buckets; use a separate job for each"])
    files = {
        path: file._replace(path=path)
        for store, own in found
        for file in own
        for path in [store.locate(file.path)[len(root) :].lstrip("/")]
    }
    url = first.url[: len(first.url) - len(first.root)] + root
    return first._replace(root=root, url=url), [files[path] for path in sorted(files)]
