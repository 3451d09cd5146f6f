"""How far a job is, told from what lies in its output."""

import getpass
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from rank1_batch.errors import ErrorRateError, SettingsError, StorageError
from rank1_batch.jobs.status.command import main
from rank1_batch.jobs.status.job import Status, measure_rate, read_status
from rank1_batch.judging.records import failed_judgment
from rank1_batch.output.commits import commit_unit, record_counted
from rank1_batch.output.counts import Counts
from rank1_batch.output.deaths import Attempt, Death, record_death, write_attempt
from rank1_batch.output.layout import PLAN_PATH, SUCCESS_PATH, judgments_path
from rank1_batch.output.lease import hold_lease
from rank1_batch.output.notes.kept import keep_rows
from rank1_batch.output.notes.last_run import record_run
from rank1_batch.output.plan import write_plan
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import FileInfo, Store, delete_file, open_store, read_bytes, write_bytes
from tests.support.counting import CountingFileSystem


def make_units(count: int, pairs: int = 10) -> list[Unit]:
    return [Unit(f"u{i}", "0.parquet", "etag", i * pairs, (i + 1) * pairs, pairs) for i in range(count)]


def commit(store: Store, unit: Unit, at: float, **counts: int) -> None:
    table = pa.table({"row": range(unit.row_start, unit.row_stop)})
    commit_unit(store, unit, table, Counts(rows=unit.pairs, **counts))
    os.utime(store.locate(judgments_path(unit.unit_id)), (at, at))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A plan of ten units of ten rows, three of them judged, one a minute."""
    store = open_store(str(tmp_path))
    units = make_units(10)
    write_plan(store, units)
    for minute in range(3):
        commit(store, units[minute], 1_700_000_000 + 60 * minute, complete=7, closed=2, errors=1)
    return store


def status_and_bytes(store: Store) -> tuple[int, Status, int]:
    """The size of the plan, the status, and the bytes that were read for it."""
    plan = read_bytes(store, PLAN_PATH) or b""
    start = CountingFileSystem.bytes_read
    return len(plan), read_status(store.url), CountingFileSystem.bytes_read - start


def printed_by(store: Store, capfd: pytest.CaptureFixture[str], *settings: str) -> str:
    assert main([f"output.path={store.url}", *settings]) == 0
    return capfd.readouterr().out


def test_units_rows_and_counts_come_from_the_committed_files(store: Store) -> None:
    status = read_status(store.url)
    assert (status.units_done, status.units, status.counts.rows, status.rows) == (3, 10, 30, 100)
    assert (status.counts.complete, status.counts.closed, status.counts.errors) == (21, 6, 3)
    assert not status.finished


def test_the_rate_is_that_of_the_last_commits_and_gives_the_time_to_go(store: Store) -> None:
    status = read_status(store.url)
    assert status.rows_per_s == pytest.approx(20 / 120)
    assert status.eta_s == pytest.approx(70 / (20 / 120))


def test_commits_of_an_earlier_night_do_not_count_for_the_rate() -> None:
    times = [0.0, 10.0, 90_000.0, 90_010.0]
    files = [FileInfo(f"u{i}", 1, "etag", at) for i, at in enumerate(times)]
    assert measure_rate(make_units(4), files) == (1.0, 90_010.0)


@pytest.mark.parametrize("times", [[], [5.0], [None, None], [5.0, 5.0]])
def test_too_few_commits_give_no_rate(times: list[float | None]) -> None:
    files = [FileInfo(f"u{i}", 1, "etag", at) for i, at in enumerate(times)]
    assert measure_rate(make_units(len(times)), files)[0] is None


def test_the_holder_of_the_lease_is_named(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    with hold_lease(store, print, takeover=False):
        told = " ".join(printed_by(store, capfd).split())
    assert f"running: {getpass.getuser()}@" in told
    assert f"process {os.getpid()}" in told


def test_without_a_holder_it_says_what_goes_on(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    told = " ".join(printed_by(store, capfd).split())
    assert "rows 30 of 100 judged (30.0%)" in told
    assert "units 3 of 10 committed" in told
    assert "no run is active" in told
    assert "Run the same command to resume" in told


def test_rows_of_units_under_way_are_told(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    keep_rows(store, "u7", 0, {3: failed_judgment("no text"), 5: failed_judgment("no text")})
    assert "2 finished rows of units that are not committed yet" in printed_by(store, capfd)


def test_units_under_way_are_those_that_the_replicas_of_the_active_run_have_begun(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    attempt = Attempt("life", "1@host", "node", 3, {"u0": [(0, 10)], "u7": [(0, 4), (5, 10)], "u8": [(0, 10)]})
    write_attempt(store, "another", "a", attempt)
    assert "under way" not in printed_by(store, capfd)
    with hold_lease(store, print, takeover=False) as lease:
        write_attempt(store, lease.run_id, "a", attempt)
        assert "under way 19 rows of 2 units" in " ".join(printed_by(store, capfd).split())


def test_the_end_of_the_last_run_is_told(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StorageError), record_run(store, "first"):
        raise StorageError("no answer")
    assert "How it ended is not recorded" in " ".join(printed_by(store, capfd).split())
    with pytest.raises(ErrorRateError), record_run(store, "second"):
        raise ErrorRateError("9 of 10 rows have failed")
    assert "with exit code 4: 9 of 10 rows have failed" in " ".join(printed_by(store, capfd).split())
    with hold_lease(store, print, takeover=False):
        assert "exit code" not in printed_by(store, capfd)


def test_deaths_of_engines_are_told(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    record_death(store, "first", Death("1@host", "its engine died", {"u5": [(0, 3)], "u6": [(0, 1)]}))
    record_death(store, "second", Death("2@host", "its engine died", {"u5": [(0, 3)]}))
    assert "2 times a replica died" in printed_by(store, capfd)


def test_a_job_that_came_to_its_end_is_finished(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = open_store(str(tmp_path))
    units = make_units(1)
    write_plan(store, units)
    commit(store, units[0], 1_700_000_000, complete=10)
    write_bytes(store, SUCCESS_PATH, b"")
    assert read_status(store.url).finished
    assert "finished" in printed_by(store, capfd)


def test_machines_get_json(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed_by(store, capfd, "format=json"))
    assert found.keys() == set(Status._fields)
    assert (found["units_done"], found["counts"]["closed"], found["lease"]) == (3, 6, None)


def test_a_place_without_a_job_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no job"):
        read_status(str(tmp_path))


def test_a_format_that_is_not_there_is_an_error(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([f"output.path={store.url}", "format=xml"]) == 2
    assert "format is 'xml'" in capfd.readouterr().err


def test_a_status_reads_little_of_what_was_recorded_already() -> None:
    """It read 64 kB of each committed file: 1.6 GB of 24,000."""
    store, units = open_store("counting://job/judged"), make_units(120)
    write_plan(store, units)
    for unit in units[:100]:
        table = pa.table({"row": range(10), "trace": [os.urandom(10_000).hex() for _ in range(10)]})
        commit_unit(store, unit, table, Counts(rows=10, complete=10))
    before, first, all_read = status_and_bytes(store)
    assert first.counts.rows == 1000
    record_counted(store, units)
    for unit in units[100:102]:
        table = pa.table({"row": range(10), "trace": [os.urandom(10_000).hex() for _ in range(10)]})
        commit_unit(store, unit, table, Counts(rows=10, complete=10))
    _, second, few_read = status_and_bytes(store)
    assert second.counts.rows == second.counts.complete == 1020
    assert all_read > 100 * 64_000
    assert few_read < before + 2 * 66_000 + 100 * 200


def test_a_file_that_was_replaced_since_it_was_recorded_is_read_again(store: Store) -> None:
    units = make_units(10)
    record_counted(store, units)
    delete_file(store, judgments_path("u1"))
    commit(store, units[1], 1_700_000_061, errors=10)
    assert read_status(store.url).counts.errors == 1 + 10 + 1
