"""What a setting names: the files of a run, of queries, of a corpus, or a data set of ir_datasets."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from rank1_batch.collection.lines import open_stream, strip_compression
from rank1_batch.errors import SettingsError
from rank1_batch.storage.store import FileInfo, Store, find_files, open_store

DATASET_PREFIX = "ir_datasets:"

PATHS_TOLD = 3

HASH_BYTES = 1024 * 1024


class TableFormat(StrEnum):
    """What a file of texts is, by its name."""

    JSONL = "jsonl"
    TSV = "tsv"
    PARQUET = "parquet"


class FileSource(NamedTuple):
    """One file."""

    store: Store
    file: FileInfo

    @property
    def where(self) -> str:
        """The file as messages name it."""
        return f"{self.store.url}/{self.file.path}"


class DatasetSource(NamedTuple):
    """A data set of ir_datasets, by its id."""

    dataset: str


class RunFormat(StrEnum):
    """What a run file is. `auto` goes by the name, and never guesses what a third column means."""

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
"""What `run_format=auto` makes of a name; all others but `.tsv` are TREC runs."""

Source = FileSource | DatasetSource


def find_sources(setting: str, value: object) -> list[Source]:
    """What a setting names, in the order given, the files of a folder or glob by path.

    A folder with BEIR's layout means its `corpus.jsonl` or `queries.jsonl`; of any other folder all
    files are taken whose names say what they are. Raises SettingsError with every path that names none.
    """
    problems: list[str] = []
    sources: list[Source] = []
    for path in list_paths(value):
        if path.startswith(DATASET_PREFIX):
            sources.append(DatasetSource(path.removeprefix(DATASET_PREFIX)))
            continue
        try:
            sources += _find_files(setting, path)
        except SettingsError as error:
            problems += [f"{setting}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)
    return sources


def find_table_format(path: str) -> TableFormat | None:
    """What a file of queries or passages is by its name; None where that does not say."""
    return SUFFIXES.get(PurePosixPath(strip_compression(path)).suffix.lower())


def find_run_format(path: str, chosen: RunFormat) -> RunFormat:
    """What a run file is. Raises SettingsError where only the user can know what its third column means."""
    if chosen is not RunFormat.AUTO:
        return chosen
    suffix = PurePosixPath(strip_compression(path)).suffix.lower()
    if suffix == ".tsv":
        told = "tsv_score (query_id doc_id score), tsv_rank (query_id doc_id rank, MS MARCO) or trec (six columns)"
        raise SettingsError([f"run: {path}: only you know what its columns are: run_format={told}"])
    return RUN_SUFFIXES.get(suffix, RunFormat.TREC)


def name_source(source: Source) -> dict[str, str]:
    """What tells a source from another one: its name, and what changes when its content does."""
    if isinstance(source, DatasetSource):
        return {"ir_datasets": source.dataset}
    return {"path": source.file.path, "identity": source.file.identity}


def hash_source(source: Source) -> dict[str, str]:
    """A run's name and the SHA-256 of its content, the same on any machine; the id of a data set."""
    if isinstance(source, DatasetSource):
        return {"ir_datasets": source.dataset}
    digest = hashlib.sha256()
    with open_stream(source.store, source.file.path) as file:
        while data := file.read(HASH_BYTES):
            digest.update(data)
    return {"name": source.file.path, "sha256": digest.hexdigest()}


def _find_files(setting: str, path: str) -> list[Source]:
    store, files = find_files(path)
    if store.root == open_store(path).root:
        return [FileSource(store, file) for file in _choose(setting, path, files)]
    if not files:
        raise SettingsError([f"{path}: no file has such a name"])
    unknown = [file.path for file in files if setting != "run" and find_table_format(file.path) is None]
    if unknown:
        raise SettingsError([f"{path}: {_tell(unknown)}: the name must end in {_endings()}"])
    return [FileSource(store, file) for file in files]


def _choose(setting: str, path: str, files: list[FileInfo]) -> list[FileInfo]:
    """The files of a folder that hold what the setting asks for."""
    beir = [file for file in files if strip_compression(file.path) == f"{setting}.jsonl"]
    seen = [file for file in files if not any(part.startswith(("_", ".")) for part in file.path.split("/"))]
    known = seen if setting == "run" else [file for file in seen if find_table_format(file.path)]
    if not beir and not known:
        found = f"; found {_tell(file.path for file in files)}" if files else ""
        raise SettingsError([f"{path} holds no files that end in {_endings()}{found}"])
    return beir or known


def _tell(paths: Iterable[str]) -> str:
    names = list(paths)
    return ", ".join(names[:PATHS_TOLD]) + (", …" if len(names) > PATHS_TOLD else "")


def _endings() -> str:
    return f"{', '.join(SUFFIXES)} (.gz, .zst and .bz2 may follow)"


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


def list_paths(value: Any) -> list[str]:
    """A source as a list of paths, whatever form it was given in; empty where it is none."""
    paths = value if isinstance(value, list) else [value]
    return [str(path) for path in paths] if all(isinstance(path, str) and path for path in paths) else []
