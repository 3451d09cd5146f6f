"""judgments/<unit>.parquet. A unit is committed if its file exists."""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.columns import UNIT_ID
from rank1_batch.errors import BadFileError, StorageError, list_some
from rank1_batch.output.counts import Counts, add_counts, parse_counts, read_counts
from rank1_batch.output.layout import COUNTS_KEY, GENERATION_KEY, JUDGMENTS_FOLDER, VERSIONS_KEY, judgments_path
from rank1_batch.output.notes.counted import Counted, read_counted, write_counted
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import open_parquet, read_footers, to_parquet
from rank1_batch.storage.store import FileInfo, Store, create_bytes, list_files, replace_bytes, stat_file


def committed_units(store: Store) -> set[str]:
    """Ids of the units that are committed."""
    return {Path(file.path).stem for file in list_files(store, JUDGMENTS_FOLDER) if file.path.endswith(".parquet")}


def commit_unit(store: Store, unit: Unit, judgments: pa.Table, counts: Counts, generation: int = 0) -> bool:
    """Commit the judgments of a unit. True if this call did it, False if they were there already.

    The metadata of the file are those of the table, the counts and the generation. A later generation replaces an
    earlier one in one step, never the other way round. Raises RuntimeError if the number of rows is not that of the
    plan. That would be a bug, and nothing is written.
    """
    if len(judgments) != unit.pairs:
        raise RuntimeError(f"unit {unit.unit_id}: {len(judgments)} judgments for {unit.pairs} pairs")
    own = {COUNTS_KEY: json.dumps(counts._asdict()), GENERATION_KEY: str(generation)}
    data = to_parquet(judgments.replace_schema_metadata({**(judgments.schema.metadata or {}), **own}))
    path = judgments_path(unit.unit_id)
    file = stat_file(store, path) if generation else None
    if file is None:
        return create_bytes(store, path, data)
    earlier = read_generation(_read_footer(store, unit, file).metadata)
    return earlier < generation and replace_bytes(store, path, data, file.identity)


def find_committed(store: Store, unit: Unit, generation: int = 0) -> Counts | None:
    """The counts of a unit that is committed in this generation or a later one, or None.

    They come from the footer of the unit's file. Raises BadFileError if that file is damaged.
    """
    file = stat_file(store, judgments_path(unit.unit_id))
    if file is None:
        return None
    footer = _read_footer(store, unit, file)
    return read_counts(footer) if read_generation(footer.metadata) >= generation else None


def _read_footer(store: Store, unit: Unit, file: FileInfo) -> pq.FileMetaData:
    (listed,) = read_footers(store, [file])
    footer = _read_anew(store, unit, listed)
    if reason := _find_damage(store, unit, footer):
        raise _damage_error(store, [reason])
    return footer


def read_generation(metadata: Mapping[bytes, bytes] | None) -> int:
    """The generation of judgments that a unit's Parquet file holds. 0 if no row was judged again."""
    return int((metadata or {}).get(GENERATION_KEY, 0))


class Committed(NamedTuple):
    """What the footers of committed files say: their counts, and by unit id what is wrong with damaged files.

    `versions` maps the versions that judged units, as JSON text, to the number of these units.
    """

    counts: Counts
    damaged: dict[str, str]
    versions: Mapping[str, int] = {}

    def check(self, store: Store) -> Counts:
        """The counts. Raises BadFileError with the damaged files, if there are any."""
        if self.damaged:
            raise _damage_error(store, list(self.damaged.values()))
        return self.counts


def check_committed(store: Store, units: Sequence[Unit]) -> Committed:
    """What the files of these units hold. Reads the footers of files that are not recorded yet (`record_counted`).

    A file is damaged if it cannot be read, if another program wrote it, or if it holds another unit or number of rows.
    Raises StorageError if a unit has no file.
    """
    files = {file.path: file for file in list_files(store, JUDGMENTS_FOLDER)}
    missing = [unit.unit_id for unit in units if judgments_path(unit.unit_id) not in files]
    if missing:
        raise StorageError(f"{store.url}: {len(missing)} units are not committed ({missing[0]}, …): run again")
    total, versions = Counts(), Counter[str]()
    counted, damaged = _count_files(store, units, files)
    for file in counted:
        total = add_counts(total, parse_counts(file.counts))
        versions[file.versions] += 1
    return Committed(total, damaged, versions)


def record_counted(store: Store, units: Sequence[Unit]) -> None:
    """Record what the files of committed units hold, so that their footers need not be read again."""
    files = {file.path: file for file in list_files(store, JUDGMENTS_FOLDER)}
    done = [unit for unit in units if judgments_path(unit.unit_id) in files]
    write_counted(store, _count_files(store, done, files)[0])


def _count_files(
    store: Store, units: Sequence[Unit], files: Mapping[str, FileInfo]
) -> tuple[list[Counted], dict[str, str]]:
    """What the files of units hold, and what is wrong with damaged ones, by unit id."""
    recorded = read_counted(store)
    found = {unit.unit_id: files[judgments_path(unit.unit_id)] for unit in units}
    counted = [
        recorded[name] for name, file in found.items() if name in recorded and recorded[name].identity == file.identity
    ]
    known = {file.unit_id for file in counted}
    fresh = [unit for unit in units if unit.unit_id not in known]
    damaged: dict[str, str] = {}
    footers = read_footers(store, [found[unit.unit_id] for unit in fresh])
    for unit, listed in zip(fresh, footers, strict=True):
        footer = _read_anew(store, unit, listed)
        reason = _find_damage(store, unit, footer)
        if reason or isinstance(footer, BadFileError):
            damaged[unit.unit_id] = str(reason)
        else:
            texts = footer.metadata[COUNTS_KEY].decode(), _read_versions(footer)
            counted.append(Counted(unit.unit_id, found[unit.unit_id].identity, *texts))
    return counted, damaged


def count_committed(store: Store, units: Sequence[Unit]) -> Counts:
    """The counts of all committed units together, from the footers of their files.

    Raises StorageError if a unit has no file, and BadFileError if a file is damaged.
    """
    return check_committed(store, units).check(store)


def _read_anew(store: Store, unit: Unit, footer: pq.FileMetaData | BadFileError) -> pq.FileMetaData | BadFileError:
    """Read a footer once more that could not be read. A redo may have replaced its file since it was listed.

    Raises StorageError if the store itself cannot be read.
    """
    if isinstance(footer, BadFileError):
        with contextlib.suppress(BadFileError):
            return open_parquet(store, judgments_path(unit.unit_id)).metadata
    return footer


def _find_damage(store: Store, unit: Unit, footer: pq.FileMetaData | BadFileError) -> str | None:
    """Why a file does not hold the judgments of this unit, or None if it does."""
    path = judgments_path(unit.unit_id)
    if isinstance(footer, BadFileError):
        return str(footer).removeprefix(f"{store.url}/")
    if COUNTS_KEY not in (footer.metadata or {}):
        return f"{path}: another program wrote this file"
    if (found := _read_unit(footer)) not in (None, unit.unit_id):
        return f"{path}: this is the file of unit {found}"
    return None if footer.num_rows == unit.pairs else f"{path}: {footer.num_rows} rows, not {unit.pairs}"


def _read_versions(footer: pq.FileMetaData) -> str:
    """The versions that judged a unit, as JSON. Empty if an earlier version of this package wrote its file."""
    return str(footer.metadata.get(VERSIONS_KEY, b"{}").decode())


def _read_unit(footer: pq.FileMetaData) -> str | None:
    """The unit that the rows of a file name, from the statistics of the column. None for a file without rows."""
    names = footer.schema.names
    if UNIT_ID not in names or not footer.num_row_groups:
        return None
    statistics = footer.row_group(0).column(names.index(UNIT_ID)).statistics
    return statistics.min if statistics and statistics.has_min_max else None


def _damage_error(store: Store, reasons: Sequence[str]) -> BadFileError:
    lines = "\n".join(f"  {reason}" for reason in list_some(reasons))
    return BadFileError(
        f"{store.url}: judgments are damaged:\n{lines}\n"
        "Run jobs.rerank again with run.repair=true. It deletes such files and judges their rows again."
    )
