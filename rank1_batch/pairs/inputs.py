"""Finds the shards that input.path names, and checks that they have not changed since they were planned."""

import os.path
from collections.abc import Sequence

from rank1_batch.errors import RefusedError, SettingsError
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import InputConfig, input_paths
from rank1_batch.storage.finding import Found, find_each, name_some
from rank1_batch.storage.store import FileInfo, Store, is_identified

SHARD_SUFFIXES = (".parquet", ".parq", ".pq")


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
    """Whether a file in a folder is input: its name says Parquet, and it is not hidden (`_temporary/`, `.tmp`)."""
    hidden = any(part.startswith(("_", ".")) for part in path.split("/"))
    return path.endswith(SHARD_SUFFIXES) and not hidden


def check_planned_files(store: Store, files: Sequence[FileInfo], planned: Sequence[Unit]) -> None:
    """Raises RefusedError if a file of the plan is missing or has changed, or if nobody can know whether it has."""
    now = {file.path: file.identity for file in files}
    then = {unit.path: unit.identity for unit in planned}
    gone = [path for path in then if path not in now]
    changed = [path for path in then if path in now and now[path] != then[path]]
    unknown = [path for path, identity in then.items() if not is_identified(identity)]
    if unknown:
        raise RefusedError(
            f"{store.url}: this store tells only the size of {name_some(unknown)}, so nobody can know whether they "
            "changed since this job was planned. Copy the input to a disk or an object store, and use another "
            "output.path."
        )
    if gone or changed:
        told = [f"  {path} is missing" for path in gone] + [f"  {path} changed" for path in changed]
        raise RefusedError(
            f"{store.url}: the input has changed since this job was planned.\n" + "\n".join(told) + "\n"
            "Put the old files back, or judge the new ones with another output.path."
        )


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
