"""_rank1/kept/: finished rows of units that are not committed yet.

A unit that begins again uses them, so a replica that stops or dies loses little. Only the commit of a unit counts.
"""

import logging
from collections.abc import Mapping

import pyarrow as pa

from rank1_batch.errors import BadFileError
from rank1_batch.judging.records import Judgment
from rank1_batch.output.judgments import JUDGMENT_TYPES, parse_judgments
from rank1_batch.output.layout import KEPT_FOLDER
from rank1_batch.storage.parquet import open_parquet, read_footers, read_or_blame, to_parquet
from rank1_batch.storage.store import Store, delete_file, list_files, stat_file, write_bytes

logger = logging.getLogger(__name__)

_PLACE = "place"
"""The column with the number of a row among the judged rows of its unit."""


def keep_rows(store: Store, unit_id: str, generation: int, judgments: Mapping[int, Judgment]) -> None:
    """Write the finished rows of a unit, by number, in place of fewer."""
    columns = {_PLACE: pa.array(judgments, pa.int64())}
    for number, (name, kind) in enumerate(JUDGMENT_TYPES.items()):
        columns[name] = pa.array([judgment[number] for judgment in judgments.values()], kind)
    write_bytes(store, _path(unit_id, generation), to_parquet(pa.table(columns)))


def read_kept(store: Store, unit_id: str, generation: int) -> dict[int, Judgment]:
    """The finished rows of a unit by number. Empty if there are none, or if their file is damaged."""
    path = _path(unit_id, generation)
    if stat_file(store, path) is None:
        return {}
    try:
        table = read_or_blame(store, path, lambda: open_parquet(store, path).read())
    except BadFileError as error:
        logger.warning("rows are judged again, because the file that kept them is damaged: %s", error)
        return {}
    return dict(zip(table[_PLACE].to_pylist(), parse_judgments(table), strict=True))


def drop_kept(store: Store, unit_id: str, generation: int) -> None:
    """Delete the finished rows of a unit, which is committed now."""
    delete_file(store, _path(unit_id, generation))


def count_kept(store: Store) -> int:
    """The number of finished rows of all units."""
    files = [file for file in list_files(store, KEPT_FOLDER) if file.path.endswith(".parquet")]  # or being written
    footers = read_footers(store, files)
    return sum(footer.num_rows for footer in footers if not isinstance(footer, BadFileError))


def clear_kept(store: Store) -> None:
    """Delete what is left when a job is finished. A replica may have died right after a commit."""
    for file in list_files(store, KEPT_FOLDER):
        delete_file(store, file.path)


def _path(unit_id: str, generation: int) -> str:
    return f"{KEPT_FOLDER}/{unit_id}-{generation}.parquet"
