"""The files that a setting names: paths, folders and globs, with every problem in one error."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rank1_batch.errors import SettingsError
from rank1_batch.storage.store import FileInfo, Store, find_files, open_store

PATHS_NAMED = 3


class Found(NamedTuple):
    """The files behind one path of a setting. `whole_folder` is whether the path is a folder, not a file or glob."""

    path: str
    store: Store
    files: list[FileInfo]
    whole_folder: bool


def find_each(
    setting: str, paths: Sequence[str], choose: Callable[[Found], list[FileInfo]]
) -> list[tuple[Store, list[FileInfo]]]:
    """For each path, the folder that its files are relative to, and the files that `choose` takes of them.

    `choose` raises SettingsError where it finds none that serve. Raises SettingsError with the problems of all paths.
    """
    problems: list[str] = []
    found: list[tuple[Store, list[FileInfo]]] = []
    for path in paths:
        try:
            store, files = find_files(path)
            found.append((store, choose(Found(path, store, files, store.root == open_store(path).root))))
        except SettingsError as error:
            problems += [f"{setting}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)
    return found


def name_some(paths: Sequence[str]) -> str:
    """The first few of many paths, for a message."""
    return ", ".join(paths[:PATHS_NAMED]) + (", …" if len(paths) > PATHS_NAMED else "")
