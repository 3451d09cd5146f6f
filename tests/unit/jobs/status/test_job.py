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
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.deaths import record_deaths
from rank1_batch.output.kept import keep_rows
from rank1_batch.output.last_run import record_run
from rank1_batch.output.layout import SUCCESS_PATH, judgments_path
from rank1_batch.output.lease import hold_lease
from rank1_batch.output.plan import write_plan
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import FileInfo, Store, open_store, write_bytes


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
    assert "2 rows are finished in units that are not committed yet" in printed_by(store, capfd)


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
    record_deaths(store, ["u5", "u6"], "first")
    assert "2 times an engine died" in printed_by(store, capfd)


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
