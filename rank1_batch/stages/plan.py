"""Input files → work units. Reads listings and footers, and the query column of files to be cut.

Nothing has been spent when a problem is found here, and all of them are told at once.
"""

import json
import logging
import os.path
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from rank1_batch.config import InputConfig, input_paths
from rank1_batch.errors import BadFileError, RefusedError, SettingsError
from rank1_batch.parquet import read_footers, read_list_sizes, read_query_ends
from rank1_batch.schema import FIRST_STAGE_KEY, QUERY_ID, Layout, find_layout
from rank1_batch.storage import FileInfo, Store, find_files, open_store
from rank1_batch.units import Unit, choose_unit_rows, cut_lists, cut_runs, name_unit

logger = logging.getLogger(__name__)

SUFFIXES = (".parquet", ".parq", ".pq")
PARALLEL_READS = 16
PATHS_TOLD = 3


class Plan(NamedTuple):
    """The units of a job in the order in which they are judged, and the files that could not be read.

    `first_stages` is what files that were not planned before say of the run that their pairs came from.
    """

    units: list[Unit]
    bad_files: list[str]
    first_stages: list[Any]


class _Shard(NamedTuple):
    file: FileInfo
    layout: Layout
    rows: int
    first_stage: bytes | None


def open_input(config: InputConfig) -> tuple[Store, list[FileInfo]]:
    """The Parquet files that `input.path` names, and the one folder that they are relative to.

    Raises SettingsError with every path that names none.
    """
    problems: list[str] = []
    found: list[tuple[Store, list[FileInfo]]] = []
    for path in input_paths(config):
        try:
            store, files = find_files(path)
        except SettingsError as error:
            problems += [f"input.path: {problem}" for problem in error.problems]
            continue
        whole_folder = store.root == open_store(path).root
        chosen = [file for file in files if is_shard(file.path)] if whole_folder else files
        found.append((store, chosen))
        if not chosen:
            others = f"; found {', '.join(file.path for file in files[:PATHS_TOLD])}, …" if files else ""
            problems.append(f"input.path: {path} holds no Parquet files (*.parquet){others}")
    if problems:
        raise SettingsError(problems)
    return _join_inputs(found)


def is_shard(path: str) -> bool:
    """Whether a file in a folder is input: Parquet by name, and not hidden (`_temporary/`, `.tmp`)."""
    hidden = any(part.startswith(("_", ".")) for part in path.split("/"))
    return path.endswith(SUFFIXES) and not hidden


def plan_units(store: Store, files: Sequence[FileInfo], config: InputConfig, planned: Sequence[Unit] = ()) -> Plan:
    """The units of a job: those planned before, and after them those of files that are new.

    Raises RefusedError for a planned file that changed or is gone, BadFileError for a file that is
    no Parquet file (unless `input.on_bad_file` is skip), and SettingsError for columns that do not
    serve, each with all files that have the problem.
    """
    check_planned_files(store, files, planned)
    known = {unit.path for unit in planned}
    fresh = [file for file in files if file.path not in known]
    shards, bad_files = _open_shards(store, fresh, config)
    if not planned and not any(shard.rows for shard in shards) and not bad_files:
        raise SettingsError([f"input.path: {store.url} holds no rows"])
    told = dict.fromkeys(shard.first_stage for shard in shards if shard.first_stage)
    units = [*planned, *_cut_shards(store, shards, config.unit_rows)]
    return Plan(units, bad_files, [json.loads(text) for text in told])


def check_planned_files(store: Store, files: Sequence[FileInfo], planned: Sequence[Unit]) -> None:
    """Raises RefusedError where a file of the plan is gone, or is no longer what it was."""
    now = {file.path: file.identity for file in files}
    then = {unit.path: unit.identity for unit in planned}
    gone = [path for path in then if path not in now]
    changed = [path for path in then if path in now and now[path] != then[path]]
    if gone or changed:
        told = [f"  {path} is gone" for path in gone] + [f"  {path} changed" for path in changed]
        raise RefusedError(
            f"{store.url}: the input is not what it was when this job was planned.\n" + "\n".join(told) + "\n"
            "Put the files back, or judge the new ones into another output.path."
        )


def _join_inputs(found: Sequence[tuple[Store, list[FileInfo]]]) -> tuple[Store, list[FileInfo]]:
    """Several inputs as one: their files relative to the folder that all have in common."""
    first = found[0][0]
    if any(type(store.fs) is not type(first.fs) for store, _ in found):
        raise SettingsError(["input.path names different kinds of storage: give them to separate jobs"])
    root = os.path.commonpath([store.root for store, _ in found]) if len(found) > 1 else first.root
    if not root:
        raise SettingsError(["input.path names different buckets: give them to separate jobs"])
    files = {
        path: file._replace(path=path)
        for store, own in found
        for file in own
        for path in [store.locate(file.path)[len(root) :].lstrip("/")]
    }
    url = first.url[: len(first.url) - len(first.root)] + root
    return first._replace(root=root, url=url), [files[path] for path in sorted(files)]


def _open_shards(store: Store, files: Sequence[FileInfo], config: InputConfig) -> tuple[list[_Shard], list[str]]:
    """Every file with its layout and number of rows, and those that could not be read."""
    bad: list[str] = []
    shards: list[_Shard] = []
    problems: dict[str, list[str]] = {}
    for file, footer in zip(files, read_footers(store, files), strict=True):
        if isinstance(footer, BadFileError):
            bad.append(str(footer))
            continue
        layout, found = find_layout(footer.schema.to_arrow_schema(), config.columns, config.keep)
        for problem in found:
            problems.setdefault(problem, []).append(file.path)
        shards.append(_Shard(file, layout, footer.num_rows, (footer.metadata or {}).get(FIRST_STAGE_KEY)))
    if problems:
        raise SettingsError([f"{_name_files(store, paths)}: {text}" for text, paths in problems.items()])
    if bad and config.on_bad_file == "fail":
        raise BadFileError("\n".join([*bad, "input.on_bad_file=skip leaves such files out and says so"]))
    return shards, bad


def _name_files(store: Store, paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{store.url}/{paths[0]}{more}"


def _cut_shards(store: Store, shards: Sequence[_Shard], unit_rows: int | None) -> list[Unit]:
    """The units of all shards, in the order of their paths."""
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        sizes = list(pool.map(lambda shard: _list_sizes(store, shard), shards))
        pairs = [shard.rows if size is None else sum(size) for shard, size in zip(shards, sizes, strict=True)]
        target = unit_rows or choose_unit_rows(sum(pairs))
        ends = list(pool.map(lambda shard: _query_ends(store, shard, target), shards))
    remaining = sum(pairs)
    units: list[Unit] = []
    for shard, size, end, count in zip(shards, sizes, ends, pairs, strict=True):
        if size is None:
            runs = [(start, stop, stop - start) for start, stop in cut_runs(end, target, remaining)]
        else:
            runs = list(cut_lists(size, target, remaining))
        units += [_unit(shard.file, *run) for run in runs]
        remaining -= count
    return units


def _list_sizes(store: Store, shard: _Shard) -> list[int] | None:
    """Candidates of each row, or None where each row is one pair."""
    if shard.layout.candidates is None:
        return None
    return read_list_sizes(store, shard.file.path, shard.layout.candidates)


def _query_ends(store: Store, shard: _Shard, unit_rows: int) -> list[int]:
    """Where queries end; one end is enough for a file that is not going to be cut."""
    if shard.layout.candidates is not None or shard.rows == 0:
        return []
    if shard.rows <= unit_rows:
        return [shard.rows]
    return read_query_ends(store, shard.file.path, shard.layout.columns[QUERY_ID])


def _unit(file: FileInfo, start: int, stop: int, pairs: int) -> Unit:
    return Unit(name_unit(file.path, file.identity, start, stop), file.path, file.identity, start, stop, pairs)
