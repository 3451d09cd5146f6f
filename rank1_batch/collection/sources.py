"""Finds what a setting names: the files of a run, of queries or of a corpus, or a data set of ir_datasets."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from rank1_batch.collection.lines import open_stream, strip_compression
from rank1_batch.errors import SettingsError
from rank1_batch.storage.finding import Found, find_each, name_some
from rank1_batch.storage.store import FileInfo, Store

DATASET_PREFIX = "ir_datasets:"

HASH_BYTES = 1024 * 1024


class TableFormat(StrEnum):
    """The format of a file of texts, found from its name."""

    JSONL = "jsonl"
    TSV = "tsv"
    PARQUET = "parquet"


class FileSource(NamedTuple):
    """One file."""

    store: Store
    file: FileInfo

    @property
    def where(self) -> str:
        """The file's name in messages."""
        return f"{self.store.url}/{self.file.path}"


class DatasetSource(NamedTuple):
    """A data set of ir_datasets, by its id."""

    dataset: str


class RunFormat(StrEnum):
    """The format of a run file. `auto` goes by the file name, and never guesses what a third column means."""

    AUTO = "auto"
    TREC = "trec"
    TSV_SCORE = "tsv_score"
    TSV_RANK = "tsv_rank"
    JSON = "json"
    PARQUET = "parquet"


SUFFIXES = {
    ".jsonl": TableFormat.JSONL,
    ".ndjson": TableFormat.JSONL,
    ".json": TableFormat.JSONL,
    ".tsv": TableFormat.TSV,
    ".parquet": TableFormat.PARQUET,
    ".parq": TableFormat.PARQUET,
    ".pq": TableFormat.PARQUET,
}

RUN_SUFFIXES = {
    ".json": RunFormat.JSON,
    ".parquet": RunFormat.PARQUET,
    ".parq": RunFormat.PARQUET,
    ".pq": RunFormat.PARQUET,
}
"""How `run_format=auto` reads a file name. All other names are TREC runs, except `.tsv`."""

Source = FileSource | DatasetSource


def find_sources(setting: str, value: object) -> list[Source]:
    """The sources that a setting names, in the order given. The files of a folder or glob are sorted by path.

    From a folder with BEIR's layout only `corpus.jsonl` or `queries.jsonl` is read. From any other folder
    all files with a known ending are read. Raises SettingsError that lists every path without a source.
    """
    paths = list_paths(value)
    files = [path for path in paths if not path.startswith(DATASET_PREFIX)]
    found = dict(zip(files, find_each(setting, files, lambda found: _choose(setting, found)), strict=True))
    return [source for path in paths for source in _build_sources(path, found)]


def _build_sources(path: str, found: Mapping[str, tuple[Store, list[FileInfo]]]) -> list[Source]:
    if path not in found:
        return [DatasetSource(path.removeprefix(DATASET_PREFIX))]
    store, files = found[path]
    return [FileSource(store, file) for file in files]


def find_table_format(path: str) -> TableFormat | None:
    """The format of a file of queries or passages, by its name. None if the name does not tell."""
    return SUFFIXES.get(PurePosixPath(strip_compression(path)).suffix.lower())


def find_run_format(path: str, chosen: RunFormat) -> RunFormat:
    """The format of a run file. Raises SettingsError if only the user can know what its third column means."""
    if chosen is not RunFormat.AUTO:
        return chosen
    suffix = PurePosixPath(strip_compression(path)).suffix.lower()
    if suffix == ".tsv":
        told = "tsv_score (query_id doc_id score), tsv_rank (query_id doc_id rank, MS MARCO) or trec (six columns)"
        raise SettingsError([f"run: {path}: its name does not say what its columns are; set run_format={told}"])
    return RUN_SUFFIXES.get(suffix, RunFormat.TREC)


def name_source(source: Source) -> dict[str, str]:
    """What identifies a source: its name, and a value that changes with its content."""
    if isinstance(source, DatasetSource):
        return {"ir_datasets": source.dataset}
    return {"path": source.file.path, "identity": source.file.identity}


def hash_source(source: Source) -> dict[str, str]:
    """A run's name and the SHA-256 of its content, or the id of a data set. The same on any machine."""
    if isinstance(source, DatasetSource):
        return {"ir_datasets": source.dataset}
    digest = hashlib.sha256()
    with open_stream(source.store, source.file.path) as file:
        while data := file.read(HASH_BYTES):
            digest.update(data)
    return {"name": source.file.path, "sha256": digest.hexdigest()}


def _choose(setting: str, found: Found) -> list[FileInfo]:
    """The files with what the setting asks for. Raises SettingsError if there are none."""
    if found.whole_folder:
        return _choose_in_folder(setting, found)
    if not found.files:
        raise SettingsError([f"{found.path}: no file has this name"])
    unknown = [file.path for file in found.files if setting != "run" and find_table_format(file.path) is None]
    if unknown:
        raise SettingsError([f"{found.path}: {name_some(unknown)}: the name must end in {_endings()}"])
    return found.files


def _choose_in_folder(setting: str, found: Found) -> list[FileInfo]:
    files = found.files
    beir = [file for file in files if strip_compression(file.path).lower() == f"{setting}.jsonl"]
    seen = [file for file in files if not any(part.startswith(("_", ".")) for part in file.path.split("/"))]
    known = seen if setting == "run" else [file for file in seen if find_table_format(file.path)]
    if not beir and not known:
        there = f"; found {name_some([file.path for file in files])}" if files else ""
        raise SettingsError([f"{found.path} has no files that end in {_endings()}{there}"])
    return beir or known


def _endings() -> str:
    return f"{', '.join(SUFFIXES)} (.gz, .zst and .bz2 may follow)"


def find_file_sources(setting: str, value: Any) -> list[FileSource]:
    """The files of every path, in the order given. The files of a folder or glob are sorted by path.

    Raises SettingsError that lists every path without a file.
    """
    found = find_each(setting, check_paths(setting, value), _choose_any)
    return [FileSource(store, file) for store, own in found for file in own]


def _choose_any(found: Found) -> list[FileInfo]:
    if not found.files:
        raise SettingsError([f"{found.path}: no file has this name, or the folder is empty"])
    return found.files


def check_paths(setting: str, value: Any) -> list[str]:
    """The paths of a setting. Raises SettingsError if the value is neither a path nor a list of paths."""
    if not (paths := list_paths(value)):
        raise SettingsError([f"{setting} must be a path or a list of paths"])
    return paths


def list_paths(value: Any) -> list[str]:
    """The paths of a value, which is one path or a list of paths. Empty if it is neither."""
    paths = value if isinstance(value, list) else [value]
    return [str(path) for path in paths] if all(isinstance(path, str) and path for path in paths) else []
