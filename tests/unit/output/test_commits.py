import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rank1_batch.output.commits import commit_unit, committed_units, count_committed, find_committed
from rank1_batch.output.counts import Counts, read_counts
from rank1_batch.output.layout import PROMPT_KEY, judgments_path
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import Store, list_files, open_store, read_bytes, write_bytes

UNIT = Unit("0123456789abcdef", "part-0.parquet", "etag", 0, 3, 3)

TABLE = pa.table({"score": [0.1, 0.2, 0.3], "trace": ["a", "b", "c"]})

COUNTS = Counts(rows=3, closed=1, complete=2, trace_tokens=99)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


def test_a_committed_unit_is_there_with_its_rows_and_counts(store: Store) -> None:
    assert committed_units(store) == set()
    assert commit_unit(store, UNIT, TABLE, COUNTS)
    assert committed_units(store) == {UNIT.unit_id}
    data = io.BytesIO(read_bytes(store, judgments_path(UNIT.unit_id)) or b"")
    assert pq.read_table(data).to_pylist() == TABLE.to_pylist()
    assert read_counts(pq.read_metadata(data)) == COUNTS


def test_what_a_table_says_of_itself_is_committed_with_it(store: Store) -> None:
    said = {PROMPT_KEY: b'{"id": "scifact", "version": 1}'}
    commit_unit(store, UNIT, TABLE.replace_schema_metadata(said), COUNTS)
    footer = pq.read_metadata(io.BytesIO(read_bytes(store, judgments_path(UNIT.unit_id)) or b""))
    assert said.items() <= footer.metadata.items()
    assert read_counts(footer) == COUNTS


def test_a_committed_unit_is_found_with_its_counts(store: Store) -> None:
    assert find_committed(store, UNIT) is None
    commit_unit(store, UNIT, TABLE, COUNTS)
    assert find_committed(store, UNIT) == COUNTS


def test_the_first_commit_of_a_unit_stands(store: Store) -> None:
    commit_unit(store, UNIT, TABLE, COUNTS)
    before = read_bytes(store, judgments_path(UNIT.unit_id))
    assert commit_unit(store, UNIT, TABLE.slice(0, 3).take([2, 1, 0]), Counts(rows=3)) is False
    assert read_bytes(store, judgments_path(UNIT.unit_id)) == before


@pytest.mark.parametrize("change", [lambda t: t.slice(1), lambda t: pa.concat_tables([t, t]), lambda t: t.slice(3)])
def test_a_unit_with_another_number_of_rows_than_planned_is_not_committed(
    store: Store, change: Callable[[pa.Table], pa.Table]
) -> None:
    with pytest.raises(RuntimeError, match=rf"{UNIT.unit_id}: \d judgments for 3 pairs"):
        commit_unit(store, UNIT, change(TABLE), COUNTS)
    assert list_files(store) == []


def test_half_written_and_foreign_files_are_no_commits(store: Store) -> None:
    write_bytes(store, "judgments/.aaaa.parquet.x7f3", b"PAR1")
    write_bytes(store, "judgments/README", b"")
    assert committed_units(store) == set()


class Listing(MemoryFileSystem):
    """A store whose files are replaced by larger ones right after they were listed."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    later: bytes | None = None

    def find(self, path: str, *args: Any, **options: Any) -> Any:
        found = super().find(path, *args, **options)
        for name in found if self.later is not None else ():
            self.pipe_file(name, self.later)
        return found


def test_a_file_that_is_replaced_after_it_was_listed_is_not_damaged() -> None:
    """A redo does so."""
    files = Listing()
    store = Store(files, "/replaced", "memory://replaced")
    commit_unit(store, UNIT, TABLE, COUNTS)
    small = read_bytes(store, judgments_path(UNIT.unit_id))
    commit_unit(store, UNIT, TABLE.replace_schema_metadata({"longer": "x" * 1000}), COUNTS, generation=1)
    files.later = read_bytes(store, judgments_path(UNIT.unit_id))
    assert small is not None
    write_bytes(store, judgments_path(UNIT.unit_id), small)
    assert count_committed(store, [UNIT]) == COUNTS
