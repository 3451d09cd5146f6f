from pathlib import Path

import pytest

from rank1_batch.errors import ErrorRateError, StorageError
from rank1_batch.output.layout import LAST_RUN_PATH
from rank1_batch.output.notes.last_run import LastRun, read_last_run, record_run
from rank1_batch.storage.store import Store, open_store, write_bytes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def read(store: Store) -> LastRun:
    found = read_last_run(store)
    assert found is not None
    return found


@pytest.mark.parametrize("exit_code", [0, 3, 7])
def test_a_run_that_came_to_its_end_says_with_which_code(store: Store, exit_code: int) -> None:
    with record_run(store, "a") as run:
        began = read(store)
        run.exit_code = exit_code
    ended = read(store)
    assert (began.ended_at, began.exit_code) == (None, None)
    assert (ended.run_id, ended.exit_code, ended.message) == ("a", exit_code, "")
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.began_at == began.began_at


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (ErrorRateError("5 of 9 rows have failed"), 4, "5 of 9 rows have failed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyError("x"), 1, "KeyError: 'x'"),
    ],
)
def test_a_run_that_failed_says_why(store: Store, error: BaseException, exit_code: int, message: str) -> None:
    with pytest.raises(type(error)), record_run(store, "a"):
        raise error
    assert (read(store).exit_code, read(store).message) == (exit_code, message)


def test_a_run_whose_store_is_away_does_not_wait_for_it_again(store: Store) -> None:
    with pytest.raises(StorageError), record_run(store, "a"):
        raise StorageError("no answer")
    assert read(store).ended_at is None


def test_a_run_that_another_one_replaced_does_not_speak_for_it(store: Store) -> None:
    with record_run(store, "a"), record_run(store, "b"):
        pass
    assert (read(store).run_id, read(store).exit_code) == ("b", 0)


def test_there_may_be_no_record_or_a_damaged_one(store: Store) -> None:
    assert read_last_run(store) is None
    write_bytes(store, LAST_RUN_PATH, b"{")
    assert read_last_run(store) is None
