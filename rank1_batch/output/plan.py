"""_rank1/units.parquet, inputs.json and first_stages.json: the plan, its files by content, and where they came from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.errors import BadFileError
from rank1_batch.output.layout import FIRST_STAGES_PATH, INPUTS_PATH, PLAN_PATH
from rank1_batch.pairs.inputs import KnownFile
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import FileInfo, Store, put_over, read_bytes


def read_plan(store: Store) -> list[Unit]:
    """The units of the plan, in order; none if there is no plan yet. Raises BadFileError for a damaged one."""
    data = read_bytes(store, PLAN_PATH)
    if data is None:
        return []
    try:
        return [*_read_units(pq.ParquetFile(pa.BufferReader(data)))]
    except (pa.ArrowInvalid, KeyError) as error:
        raise BadFileError(f"{store.url}/{PLAN_PATH} is damaged: {error}") from error


def _read_units(file: pq.ParquetFile) -> Iterator[Unit]:
    """Units of the same input file share its name: a plan may have a million units."""
    shared: dict[str, str] = {}
    for batch in file.iter_batches():
        ids, paths, identities, *numbers = (batch[name].to_pylist() for name in Unit._fields)
        for unit_id, path, identity, *rest in zip(ids, paths, identities, *numbers, strict=True):
            yield Unit(unit_id, shared.setdefault(path, path), shared.setdefault(identity, identity), *rest)


def write_plan(store: Store, units: Sequence[Unit], before: FileInfo | None = None) -> None:
    """Put the whole plan, in place of the shorter one that was there `before` (None: there was none).

    Raises RefusedError where another run has put another plan there since.
    """
    columns = {name: [getattr(unit, name) for unit in units] for name in Unit._fields}
    put_over(store, PLAN_PATH, to_parquet(pa.table(columns)), {PLAN_PATH: before.identity} if before else {})


def read_first_stages(store: Store) -> list[Any]:
    """Which runs the planned pairs came from, as far as their files say so (`jobs.prepare` writes it)."""
    return read_document(store, FIRST_STAGES_PATH, list[Any]) or []


def write_first_stages(store: Store, first_stages: Sequence[Any], seen: Mapping[str, str] | None = None) -> None:
    """Put them all, in place of fewer; where `seen` is given, only of those that were seen there."""
    write_document(store, FIRST_STAGES_PATH, first_stages, seen)


def read_inputs(store: Store) -> dict[str, KnownFile]:
    """Digests of planned files, by path, so that a copy of one is known to be the same. Some may have none."""
    found = read_document(store, INPUTS_PATH, dict[str, list[str]]) or {}
    try:
        return {path: msgspec.convert(fields, KnownFile) for path, fields in found.items()}
    except msgspec.ValidationError as error:
        raise BadFileError(f"{store.url}/{INPUTS_PATH} is damaged: {error}") from error


def write_inputs(store: Store, files: dict[str, KnownFile], seen: Mapping[str, str] | None = None) -> None:
    """Put them all, in place of fewer; where `seen` is given, only of those that were seen there."""
    write_document(store, INPUTS_PATH, files, seen)
