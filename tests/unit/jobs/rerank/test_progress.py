import io
import time

import pytest
from rich.console import Console

from rank1_batch.jobs.rerank.progress import LOADING, JobProgress
from rank1_batch.output.counts import Counts


def ago(seconds: float) -> float:
    return time.monotonic() - seconds


def plain_console() -> tuple[Console, io.StringIO]:
    printed = io.StringIO()
    return Console(file=printed, width=200), printed


def test_a_resumed_job_counts_on_from_where_it_was() -> None:
    console, _ = plain_console()
    progress = JobProgress(console, 100, 10, Counts(rows=30, closed=2), 3)
    with progress.show():
        progress.add(Counts(rows=10, errors=1, closed=1, trace_tokens=500), began=ago(5.0))
    assert progress.counts == Counts(rows=40, errors=1, closed=3, trace_tokens=500)
    assert progress.line().startswith("rows 40/100  units 4/10  ")
    assert progress.line().endswith("closed 3  errors 1")


def test_without_a_terminal_there_is_a_plain_line_at_the_start_at_the_end_and_when_asked_for() -> None:
    console, printed = plain_console()
    progress = JobProgress(console, 3, 3, Counts(), 0)
    with progress.show():
        progress.say("waiting for a node")
        progress.add(Counts(rows=1), began=ago(1.0))
        progress.say("waiting for a row")
        progress.add(Counts(rows=1), began=ago(1.0))
    loading, waiting, *lines = printed.getvalue().splitlines()
    assert loading == "loading the model …"
    assert waiting == "loading the model …  waiting for a node"
    assert [line.split("  ")[0] for line in lines] == ["rows 1/3", "rows 2/3"]
    assert [line.split("  ")[-1] for line in lines] == ["waiting for a row", "errors 0"]
    assert "\x1b" not in printed.getvalue()


def test_a_terminal_shows_a_bar() -> None:
    printed = io.StringIO()
    console = Console(file=printed, width=80, force_terminal=True)
    progress = JobProgress(console, 10, 1, Counts(), 0)
    with progress.show():
        progress.add(Counts(rows=10, closed=4), began=ago(1.0))
    assert progress.line() in printed.getvalue()
    assert "━" * 80 in printed.getvalue()


def test_ctrl_c_leaves_one_bar() -> None:
    """A terminal shows ^C where the cursor is. On a line that is full it would begin a new one."""
    printed = io.StringIO()
    console = Console(file=printed, width=80, force_terminal=True)
    with JobProgress(console, 10, 1, Counts(), 0).show():
        pass
    assert f"{LOADING}\n" in printed.getvalue()


def test_the_rate_counts_from_the_start_of_the_first_unit() -> None:
    console, _ = plain_console()
    progress = JobProgress(console, 10, 2, Counts(trace_tokens=10**9), 1)
    assert progress.tokens_per_s() == 0.0
    with progress.show():
        progress.add(Counts(rows=5, trace_tokens=1000), began=ago(100.0))
        assert progress.tokens_per_s() == pytest.approx(10.0)
        progress.add(Counts(rows=5, trace_tokens=1000), began=ago(100.0))
        assert progress.tokens_per_s() == pytest.approx(20.0, rel=0.01)


def test_the_rate_counts_from_the_unit_that_was_begun_first_also_where_another_is_done_first() -> None:
    console, _ = plain_console()
    progress = JobProgress(console, 10, 2, Counts(), 0)
    with progress.show():
        progress.add(Counts(rows=5, trace_tokens=1000), began=ago(10.0))
        progress.add(Counts(rows=5, trace_tokens=1000), began=ago(100.0))
    assert progress.tokens_per_s() == pytest.approx(20.0, rel=0.01)


def test_the_rate_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    console, _ = plain_console()
    progress = JobProgress(console, 100, 10, Counts(), 0)
    now = time.monotonic()
    with progress.show():
        for minute in range(4):
            monkeypatch.setattr("time.monotonic", lambda minute=minute: now + 60.1 * minute)
            progress.add(Counts(rows=10, trace_tokens=10 ** (minute + 1)), began=now - 1000)
    assert progress.tokens_per_s() == pytest.approx(10_000 / 60.1, rel=0.01)


def test_the_time_left_follows_from_the_rate() -> None:
    console, _ = plain_console()
    progress = JobProgress(console, 40, 4, Counts(rows=10), 1)
    assert progress.remaining_s() is None
    with progress.show():
        progress.add(Counts(rows=10), began=ago(10.0))
    assert progress.remaining_s() == pytest.approx(20.0, rel=0.01)
