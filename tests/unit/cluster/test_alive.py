"""Whether Ray lives is seen from its sockets."""

import socket
import threading
from pathlib import Path

from rank1_batch.cluster.alive import answers, watch

CHECK_S, GONE_S = 0.01, 0.1


def watch_until_gone(*addresses: tuple[str, int] | str) -> list[str]:
    gone: list[str] = []
    watched = {f"number {place} is gone": (address, GONE_S) for place, address in enumerate(addresses)}
    watch(watched, gone.append, threading.Event(), CHECK_S)
    return gone


def test_what_listens_answers_until_it_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as head, socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(path)
        raylet.listen()
        assert answers(head.getsockname())
        assert answers(path)
    assert not answers(head.getsockname() if head.fileno() >= 0 else ("127.0.0.1", 9))
    assert not answers(path)


def test_the_first_that_is_gone_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        assert watch_until_gone(head.getsockname(), str(tmp_path / "none")) == ["number 1 is gone"]


def test_nothing_is_said_while_all_answer() -> None:
    done, gone = threading.Event(), list[str]()
    with socket.create_server(("127.0.0.1", 0)) as head:
        watched = {"gone": (head.getsockname(), GONE_S)}
        thread = threading.Thread(target=watch, args=(watched, gone.append, done, CHECK_S))
        thread.start()
        for _ in range(3):
            head.accept()[0].close()
        done.set()
        thread.join()
    assert gone == []
