from pathlib import Path

import pytest

from rank1_batch.judging.records import Finish, Judgment, failed_judgment
from rank1_batch.output.layout import KEPT_FOLDER
from rank1_batch.output.notes.kept import clear_kept, count_kept, drop_kept, keep_rows, read_kept
from rank1_batch.storage.store import open_store

JUDGED = Judgment(0.25, -1.5, -0.5, False, Finish.CLOSED, "a trace", 10, 3, True, None, (-1.5, -0.5))
ROWS = {7: JUDGED, 2: failed_judgment("no text")}


def test_finished_rows_come_back_as_they_were(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    keep_rows(store, "u1", 0, {7: JUDGED})
    keep_rows(store, "u1", 0, ROWS)
    assert read_kept(store, "u1", 0) == ROWS
    assert count_kept(store) == 2


def test_rows_of_another_unit_or_generation_are_not_taken(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    keep_rows(store, "u1", 1, ROWS)
    assert read_kept(store, "u1", 0) == read_kept(store, "u2", 1) == {}


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100])
def test_a_damaged_file_keeps_nothing(tmp_path: Path, data: bytes) -> None:
    store = open_store(str(tmp_path))
    keep_rows(store, "u1", 0, ROWS)
    (tmp_path / KEPT_FOLDER / "u1-0.parquet").write_bytes(data)
    assert read_kept(store, "u1", 0) == {}
    assert count_kept(store) == 0


def test_rows_are_removed_with_their_unit_or_all_together(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for unit in ("u1", "u2", "u3"):
        keep_rows(store, unit, 0, ROWS)
    drop_kept(store, "u1", 0)
    assert read_kept(store, "u1", 0) == {}
    assert read_kept(store, "u2", 0) == ROWS
    clear_kept(store)
    assert count_kept(store) == 0
