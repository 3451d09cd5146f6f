"""The files that a setting names: runs or grades, here or in a store."""

from typing import Any

from rank1_batch.errors import SettingsError
from rank1_batch.prepare.config import list_paths
from rank1_batch.prepare.sources import FileSource
from rank1_batch.storage import find_files


def find_file_sources(setting: str, value: Any) -> list[FileSource]:
    """The files of every path, in the order given; those of a folder or glob by path.

    Raises SettingsError with every path that names none.
    """
    problems: list[str] = []
    sources: list[FileSource] = []
    for path in check_paths(setting, value):
        try:
            store, files = find_files(path)
        except SettingsError as error:
            problems += [f"{setting}: {problem}" for problem in error.problems]
            continue
        sources += [FileSource(store, file) for file in files]
        problems += [] if files else [f"{setting}: {path}: there is no file in it, or with such a name"]
    if problems:
        raise SettingsError(problems)
    return sources


def check_paths(setting: str, value: Any) -> list[str]:
    """The paths of a setting. Raises SettingsError where it is neither a path nor a list of them."""
    if not (paths := list_paths(value)):
        raise SettingsError([f"{setting} must be a path or a list of paths"])
    return paths
