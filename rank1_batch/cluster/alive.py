"""Notices that Ray itself has died: its head, or its part on this machine.

Ray's own code ends the whole process then, after seconds or a minute, with exit code 1 and no word (2.60).
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

CHECK_S = 1.0

RAYLET_GONE_S, HEAD_GONE_S = 3.0, 30.0
"""After how long without an answer each counts as dead. Ray gives the head 60 s before it ends the process."""

Address = tuple[str, int] | str
"""A host and a port, or the path of a socket of this machine."""


@contextmanager
def watch_ray(end: Callable[[str], None]) -> Iterator[None]:
    """Call `end`, in a thread, with a sentence when the Ray that this process is connected to has died."""
    node: Any = ray._private.worker._global_node  # noqa: SLF001  # Ray 2.60 tells the path of raylet's socket nowhere else
    host, _, port = str(node.gcs_address).rpartition(":")
    watched = {
        "the Ray process of this machine (raylet) has died": (node.raylet_socket_name, RAYLET_GONE_S),
        f"the head of the Ray cluster ({node.gcs_address}) does not answer any more": (
            (host.strip("[]"), int(port)),
            HEAD_GONE_S,
        ),
    }
    done = threading.Event()
    thread = threading.Thread(target=watch, args=(watched, end, done), name="ray-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def watch(
    watched: Mapping[str, tuple[Address, float]],
    end: Callable[[str], None],
    done: threading.Event,
    check_s: float = CHECK_S,
) -> None:
    """Call `end` with the sentence of the first address that has not answered for its seconds. Return when `done`."""
    answered = dict.fromkeys(watched, time.monotonic())
    while not done.wait(check_s):
        for sentence, (address, gone_s) in watched.items():
            if answers(address):
                answered[sentence] = time.monotonic()
            elif time.monotonic() - answered[sentence] > gone_s:
                end(sentence)
                return


def answers(address: Address) -> bool:
    """Whether something listens there."""
    try:
        if isinstance(address, tuple):
            socket.create_connection(address, CHECK_S).close()
            return True
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CHECK_S)
            probe.connect(address)
    except OSError:
        return False
    return True
