"""A job that says how it is also while nothing comes, and that ends where nothing comes any more."""

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rank1_batch.errors import ReplicaError
from rank1_batch.jobs.rerank.progress import JobProgress
from rank1_batch.jobs.rerank.stopping import stop_on_sigterm
from rank1_batch.jobs.rerank.watching import JOB_STALLS, Watch, describe_death
from rank1_batch.output.counts import Counts
from rank1_batch.output.deaths import Attempt, Death, record_death, write_attempt
from rank1_batch.settings import load_config
from rank1_batch.storage.store import Store, open_store
from tests.support.seaweed import wait_for

LONG_S = 60.0

DEATH = Death("1@host", "its process was killed, or crashed", {"u1": [(0, 60)], "u2": [(3, 4)]})


class Job:
    """A watched job whose replicas this test plays."""

    def __init__(self, folder: Path, *settings: str, room: bool = True) -> None:
        config = load_config(
            ["model=custom", "model.name=none", "engine=scripted", "input.path=pairs", f"output.path={folder}",
             "cluster.wait_s=0", "run.log_every_s=0.02", *settings]
        )  # fmt: skip
        self.store: Store = open_store(str(folder))
        self._text = io.StringIO()
        console = Console(file=self._text, width=200)
        self.progress = JobProgress(console, 100, 10, Counts(), 0)
        self.watch = Watch(self.store, "run", config, self.progress, console, lambda: room)

    def printed(self) -> list[str]:
        return self._text.getvalue().splitlines()

    def begin(self, finished: int) -> None:
        write_attempt(self.store, "run", "replica", Attempt("life", "1@host", "node", finished, {"u1": [(0, 9)]}))


def run(job: Job, block: Callable[[], object]) -> None:
    with stop_on_sigterm(lambda: None, LONG_S), job.watch.keep():
        block()


def stand_still() -> None:
    threading.Event().wait(LONG_S)


def test_a_line_comes_every_so_often_also_while_no_unit_does(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.begin(0)
    run(job, lambda: wait_for(lambda: len(job.printed()) > 3, "nothing was printed"))
    assert job.printed()[2] == "rows 0/100  units 0/10  0 tok/s  ETA ?  closed 0  errors 0"


def test_a_job_that_loads_says_for_how_long(tmp_path: Path) -> None:
    job = Job(tmp_path)
    run(job, lambda: wait_for(lambda: len(job.printed()) > 3, "nothing was printed"))
    assert job.printed()[2] == "loading the model …  for 0 s"


def test_that_no_row_is_judged_is_said_once_a_replica_would_have_told_of_one(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.stall_s=5")
    job.begin(0)
    run(job, lambda: wait_for(lambda: "no row judged" in "".join(job.printed()[-1:]), "it was not said"))
    assert "no row judged" not in job.printed()[0]
    assert "no row judged for 1 s (since " in job.printed()[-1]
    assert job.printed()[-1].endswith("1 of 1 replicas have begun to judge, 1 units are under way")


def test_lines_are_no_more_frequent_than_asked_for(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.log_every_s=1000", "run.stall_s=1")
    run(job, lambda: wait_for(lambda: job.watch._nobody_s > 0.2, "nobody looked"))
    assert job.printed() == []


def test_a_job_in_which_no_row_is_judged_ends_and_says_what_it_waited_for(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.stall_s=0.05", "cluster.replicas=3")
    job.begin(0)
    with pytest.raises(ReplicaError, match=r"no row judged for 0 s .*: 1 of 3 replicas have begun .* 1 units"):
        run(job, stand_still)


def test_where_nobody_is_at_work_a_job_waits_longer_by_the_time_that_a_node_may_take(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.stall_s=0.01", "cluster.wait_s=0.5")
    start = time.monotonic()
    with pytest.raises(ReplicaError, match="0 of 1 replicas have begun"):
        run(job, stand_still)
    assert time.monotonic() - start > 0.5


def test_rows_that_are_finished_are_as_good_as_units(tmp_path: Path) -> None:
    """A large unit on a slow engine takes its time."""
    job = Job(tmp_path, "run.stall_s=100")
    for finished in range(3):
        job.begin(finished)
        job.watch.look(350, units=0)
    assert not job.watch.standstill
    job.watch.look(350, units=1)
    job.watch.look(350, units=0)
    assert not job.watch.standstill
    job.watch.look(350, units=0)
    assert job.watch.standstill


def test_a_replica_that_comes_late_gets_its_time(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.stall_s=100", "cluster.wait_s=1000")
    job.watch.look(1300, units=0)
    job.begin(0)
    job.watch.look(300, units=0)
    assert not job.watch.standstill
    job.watch.look(100, units=0)
    assert job.watch.standstill


def test_the_time_in_which_a_replica_starts_again_is_not_that_in_which_it_hangs(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.stall_s=100", "cluster.wait_s=1000")
    for life in range(JOB_STALLS):
        attempt = Attempt(f"life {life}", "1@host", "node", 0, {"u1": [(0, 9)]})
        write_attempt(job.store, "run", "replica", attempt)
        job.watch.look(99, units=0)
        record_death(job.store, attempt.life, DEATH)
        job.watch.tell_deaths()
        job.watch.look(1200, units=0)
        assert not job.watch.standstill
    write_attempt(job.store, "run", "replica", Attempt("last", "1@host", "node", 0, {"u1": [(0, 9)]}))
    job.watch.look(99, units=0)
    assert job.watch.standstill


def test_a_replica_whose_node_is_gone_is_not_at_work(tmp_path: Path) -> None:
    job = Job(tmp_path, "run.stall_s=100", "cluster.wait_s=1000", room=False)
    job.begin(0)
    job.watch.look(1300, units=0)
    assert not job.watch.standstill
    job.watch.look(100, units=0)
    assert job.watch.standstill


def test_ctrl_c_is_no_standstill(tmp_path: Path) -> None:
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Job(tmp_path), press_ctrl_c)


def test_each_death_is_said_once_and_those_of_earlier_runs_are_not(tmp_path: Path) -> None:
    record_death(open_store(str(tmp_path)), "earlier", DEATH)
    job = Job(tmp_path)

    def die() -> None:
        record_death(job.store, "now", DEATH)
        wait_for(lambda: describe_death(DEATH) in job.printed(), "nothing was said")
        said = len(job.printed())
        wait_for(lambda: len(job.printed()) > said + 1, "nothing was printed")

    run(job, die)
    assert job.printed().count(describe_death(DEATH)) == 1


def test_a_death_says_how_many_rows_are_judged_again() -> None:
    assert describe_death(DEATH) == (
        "replica 1@host died: its process was killed, or crashed; "
        "61 rows of 2 units were in flight and are judged again"
    )
    assert describe_death(Death("1@host", "gone", {})) == "replica 1@host died: gone; no row was in flight"
