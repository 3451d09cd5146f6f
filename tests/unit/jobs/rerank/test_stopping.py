"""SIGTERM is a request to come to an end."""

import os
import signal
import threading

import pytest

from rank1_batch.jobs.rerank.stopping import stop_on_sigterm

LONG_S = 60.0


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_asks_once_and_the_block_goes_on() -> None:
    asked = []
    with stop_on_sigterm(lambda: asked.append(1), LONG_S):
        terminate()
    assert asked == [1]


def test_after_the_grace_time_the_block_is_interrupted() -> None:
    def never_end() -> None:
        threading.Event().wait(LONG_S)

    with pytest.raises(KeyboardInterrupt), stop_on_sigterm(never_end, 0.05):
        terminate()


def test_a_second_sigterm_interrupts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_sigterm(terminate, LONG_S):
        terminate()


def test_afterwards_signals_mean_what_they_did_before() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with stop_on_sigterm(lambda: None, LONG_S):
        terminate()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_thread_which_gets_no_signals_is_left_alone() -> None:
    ran = []

    def run() -> None:
        with stop_on_sigterm(lambda: None, LONG_S):
            ran.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ran == [1]
