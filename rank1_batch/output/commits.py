"""judgments/<unit>.parquet: its existence is the commit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.errors import BadFileError, StorageError
from rank1_batch.output.counts import Counts, add_counts, read_counts
from rank1_batch.output.layout import COUNTS_KEY, GENERATION_KEY, JUDGMENTS_FOLDER, judgments_path
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import read_footers, to_parquet
from rank1_batch.storage.store import FileInfo, Store, create_bytes, list_files, replace_bytes, stat_file


def committed_units(store: Store) -> set[str]:
    """Ids of the units whose judgments are there."""
    return {Path(file.path).stem for file in list_files(store, JUDGMENTS_FOLDER) if file.path.endswith(".parquet")}


def commit_unit(store: Store, unit: Unit, judgments: pa.Table, counts: Counts, generation: int = 0) -> bool:
    """Put a unit's judgments. True if this call did it, False if they were there already.

    The file's metadata are the table's own, the counts and the generation. A later generation replaces an earlier one
    in one step, and never the other way round. Raises RuntimeError where the number of rows is not the plan's: a bug,
    and nothing is put.
    """
    if len(judgments) != unit.pairs:
        raise RuntimeError(f"unit {unit.unit_id}: {len(judgments)} judgments for {unit.pairs} pairs")
    own = {COUNTS_KEY: json.dumps(counts._asdict()), GENERATION_KEY: str(generation)}
    data = to_parquet(judgments.replace_schema_metadata({**(judgments.schema.metadata or {}), **own}))
    path = judgments_path(unit.unit_id)
    file = stat_file(store, path) if generation else None
    if file is None:
        return create_bytes(store, path, data)
    earlier = read_generation(_read_footer(store, file).metadata)
    return earlier < generation and replace_bytes(store, path, data, file.identity)


def find_committed(store: Store, unit: Unit, generation: int = 0) -> Counts | None:
    """The counts of a unit whose judgments are there, in this generation or a later one; None where they are not.

    They come from the footer of the unit's file. Raises StorageError where that cannot be read.
    """
    file = stat_file(store, judgments_path(unit.unit_id))
    if file is None:
        return None
    footer = _read_footer(store, file)
    return read_counts(footer) if read_generation(footer.metadata) >= generation else None


def _read_footer(store: Store, file: FileInfo) -> pq.FileMetaData:
    (footer,) = read_footers(store, [file])
    if isinstance(footer, BadFileError):
        raise StorageError(str(footer)) from footer
    return footer


def read_generation(metadata: Mapping[bytes, bytes] | None) -> int:
    """Which generation of its judgments a unit's Parquet file holds; 0 where no row was judged again."""
    return int((metadata or {}).get(GENERATION_KEY, 0))


def count_committed(store: Store, units: Sequence[Unit]) -> Counts:
    """The counts of all committed units together, from the footers of their files.

    Raises StorageError where a unit has no file, or one with another number of rows than planned.
    """
    files = {file.path: file for file in list_files(store, JUDGMENTS_FOLDER)}
    missing = [unit.unit_id for unit in units if judgments_path(unit.unit_id) not in files]
    if missing:
        raise StorageError(f"{store.url}: {len(missing)} units are not committed ({missing[0]}, …): run again")
    footers = read_footers(store, [files[judgments_path(unit.unit_id)] for unit in units])
    total = Counts()
    for unit, footer in zip(units, footers, strict=True):
        if isinstance(footer, BadFileError):
            raise StorageError(str(footer)) from footer
        if footer.num_rows != unit.pairs:
            raise StorageError(f"{store.url}/{judgments_path(unit.unit_id)}: {footer.num_rows} rows, not {unit.pairs}")
        total = add_counts(total, read_counts(footer))
    return total
