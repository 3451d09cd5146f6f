"""_rank1/deaths/: engines that died over a unit."""

from collections.abc import Sequence
from pathlib import Path

from rank1_batch.output.layout import DEATHS_FOLDER
from rank1_batch.storage.store import Store, delete_file, list_files, write_bytes


def record_deaths(store: Store, unit_ids: Sequence[str], name: str) -> None:
    """Note that an engine died while it judged these units. `name` tells deaths apart."""
    for unit_id in unit_ids:
        write_bytes(store, f"{DEATHS_FOLDER}/{unit_id}/{name}", b"")


def count_deaths(store: Store) -> dict[str, int]:
    """How many engines died while they judged a unit, by its id."""
    counts: dict[str, int] = {}
    for file in list_files(store, DEATHS_FOLDER):
        unit_id = Path(file.path).parent.name
        counts[unit_id] = counts.get(unit_id, 0) + 1
    return counts


def clear_deaths(store: Store, unit_ids: Sequence[str]) -> None:
    """Forget the engines that died while they judged these units."""
    cleared = set(unit_ids)
    for file in list_files(store, DEATHS_FOLDER):
        if Path(file.path).parent.name in cleared:
            delete_file(store, file.path)
