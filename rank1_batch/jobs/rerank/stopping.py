"""SIGTERM is a request to stop in good order. Schedulers and spot machines send it first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_sigterm(stop: Callable[[], None], grace_s: float) -> Iterator[None]:
    """SIGTERM calls `stop`, after which the block ought to end by itself.

    When it has not after `grace_s`, or at a second SIGTERM, it ends with KeyboardInterrupt. Does
    nothing outside the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        signal.setitimer(signal.ITIMER_REAL, max(grace_s, 0.001))  # 0 would mean never
        stop()

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ask), signal.signal(signal.SIGALRM, give_up)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])


def interrupt() -> None:
    """End the block of `stop_on_sigterm` with KeyboardInterrupt, from any thread; without such a block, nothing."""
    main = threading.main_thread().ident
    if main is not None and callable(signal.getsignal(signal.SIGALRM)):
        signal.pthread_kill(main, signal.SIGALRM)
