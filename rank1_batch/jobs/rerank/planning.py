"""Input files → work units. Reads listings and footers, and the query column of files to be cut.

Problems are found here before anything is spent, and all of them are reported together.
"""

import itertools
import json
import operator
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.columns import FIRST_STAGE_KEY, QUERY_ID
from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.pairs.inputs import check_planned_files
from rank1_batch.pairs.layout import Layout, find_layout
from rank1_batch.pairs.units import DEFAULT_SIZES, Unit, UnitSizes, cut_lists, cut_runs, name_unit
from rank1_batch.settings import InputConfig
from rank1_batch.storage.parquet import read_ahead, read_footers, read_list_sizes, read_query_ends
from rank1_batch.storage.store import FileInfo, Store


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


def plan_units(
    store: Store,
    files: Sequence[FileInfo],
    config: InputConfig,
    planned: Sequence[Unit] = (),
    sizes: UnitSizes = DEFAULT_SIZES,
) -> Plan:
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
    sizes = sizes._replace(rows=config.unit_rows) if config.unit_rows else sizes
    units = [*planned, *_cut_shards(store, shards, sizes)]
    return Plan(units, bad_files, [json.loads(text) for text in told])


def _open_shards(store: Store, files: Sequence[FileInfo], config: InputConfig) -> tuple[list[_Shard], list[str]]:
    """Every file with its layout and number of rows, and those that could not be read."""
    bad: list[str] = []
    shards: list[_Shard] = []
    problems: dict[str, list[str]] = {}
    first_stages: dict[bytes | None, bytes | None] = {}
    layouts = _Layouts(config)
    for file, footer in zip(files, read_footers(store, files), strict=True):
        if isinstance(footer, BadFileError):
            bad.append(str(footer))
            continue
        layout, found = layouts.find(footer.schema.to_arrow_schema())
        for problem in found:
            problems.setdefault(problem, []).append(file.path)
        first_stage = (footer.metadata or {}).get(FIRST_STAGE_KEY)
        shards.append(_Shard(file, layout, footer.num_rows, first_stages.setdefault(first_stage, first_stage)))
    if problems:
        raise SettingsError([f"{_name_files(store, paths)}: {text}" for text, paths in problems.items()])
    if bad and config.on_bad_file == "fail":
        raise BadFileError("\n".join([*bad, "input.on_bad_file=skip leaves such files out and says so"]))
    return shards, bad


class _Layouts:
    """Finds the layouts of files. Neighbours mostly have the same, and share it: a million files need little memory."""

    def __init__(self, config: InputConfig) -> None:
        self._config = config
        self._last: tuple[pa.Schema, tuple[Layout, list[str]]] | None = None

    def find(self, schema: pa.Schema) -> tuple[Layout, list[str]]:
        """The layout of a file and what is wrong with it, as in `find_layout`."""
        if self._last is None or not self._last[0].equals(schema):
            self._last = schema, find_layout(schema, self._config.columns, self._config.keep)
        return self._last[1]


def _name_files(store: Store, paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{store.url}/{paths[0]}{more}"


def _cut_shards(store: Store, shards: Sequence[_Shard], sizes: UnitSizes) -> Iterator[Unit]:
    """The units of all shards, in the order of their paths."""
    lists = list(read_ahead(lambda shard: _list_sizes(store, shard), shards))
    pairs = [shard.rows if found is None else sum(found) for shard, found in zip(shards, lists, strict=True)]
    remaining = itertools.accumulate(pairs, operator.sub, initial=sum(pairs))

    def cut(shard: _Shard, lists: Sequence[int] | None, remaining: int) -> list[Unit]:
        return [_unit(shard.file, *run) for run in _cut_shard(store, shard, lists, sizes, remaining)]

    for units in read_ahead(lambda job: cut(*job), zip(shards, lists, remaining, strict=False)):
        yield from units


def _list_sizes(store: Store, shard: _Shard) -> Sequence[int] | None:
    """Candidates of each row, or None where each row is one pair."""
    if shard.layout.candidates is None:
        return None
    return array("i", read_list_sizes(store, shard.file.path, shard.layout.candidates))


def _cut_shard(
    store: Store, shard: _Shard, lists: Sequence[int] | None, sizes: UnitSizes, remaining: int
) -> Iterator[tuple[int, int, int]]:
    """Runs of a shard's rows: start, stop and number of pairs. `remaining` are its pairs and those of all after it."""
    if lists is not None:
        yield from cut_lists(lists, sizes, remaining)
    elif 0 < shard.rows <= sizes.cut(remaining):
        yield 0, shard.rows, shard.rows
    elif shard.rows:
        ends = read_query_ends(store, shard.file.path, shard.layout.columns[QUERY_ID])
        yield from ((start, stop, stop - start) for start, stop in cut_runs(ends, sizes, remaining))


def _unit(file: FileInfo, start: int, stop: int, pairs: int) -> Unit:
    return Unit(name_unit(file.path, file.identity, start, stop), file.path, file.identity, start, stop, pairs)
