"""Input files → work units. Reads listings and footers, and the query column of files to be cut.

Problems are found here before anything is spent, and all of them are reported together.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from rank1_batch.columns import FIRST_STAGE_KEY, QUERY_ID
from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.pairs.inputs import check_planned_files
from rank1_batch.pairs.layout import Layout, find_layout
from rank1_batch.pairs.units import Unit, choose_unit_rows, cut_lists, cut_runs, name_unit
from rank1_batch.settings import InputConfig
from rank1_batch.storage.parquet import read_footers, read_list_sizes, read_query_ends
from rank1_batch.storage.store import FileInfo, Store

logger = logging.getLogger(__name__)

SHARDS_AT_ONCE = 16


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
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
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
