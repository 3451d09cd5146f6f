"""A job that is told to end gives back what it holds, and says by its exit code that it was stopped."""

import os
import signal
import sys

import pytest
from rich.console import Console

from rank1_batch.cli.command import INTERRUPTED, run_command
from rank1_batch.cli.signals import ENDING, interrupt_on_signals
from rank1_batch.jobs.status.settings import JOB, StatusConfig


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_a_job_that_is_told_to_end_was_interrupted(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    def run(_config: StatusConfig, _console: Console) -> int:
        send(number)
        return 0

    before = signal.getsignal(number)
    assert run_command(JOB, ["output.path=judged"], run) == INTERRUPTED
    assert "interrupted" in capfd.readouterr().err
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt_on_signals():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_rays_own_way_to_exit_at_a_signal_is_an_interruption_too() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt_on_signals():
        sys.exit(signal.SIGTERM)
    with pytest.raises(SystemExit), interrupt_on_signals():
        sys.exit(3)
