import inspect
import socket
import threading

import pytest

from rank1_batch.cluster import connect as connect_module
from rank1_batch.cluster.connect import DATA_THREADS, check_address, connect, wait_for_data_threads
from rank1_batch.cluster.rank import find_cause
from rank1_batch.errors import ReplicaError, SettingsError, StorageError
from rank1_batch.settings import ClusterConfig, EngineConfig


@pytest.mark.parametrize("name", DATA_THREADS)
def test_ray_is_not_shut_down_while_a_thread_of_ray_data_is_at_work(name: str) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name=f"{name}-1", daemon=True)
    thread.start()
    threading.Timer(0.2, done.set).start()
    wait_for_data_threads()
    assert done.is_set()
    assert not thread.is_alive()


def test_ray_data_still_names_its_threads_so() -> None:
    """Names are no promise of Ray's: a version that changes them is found here."""
    from ray.data._internal.block_batching import util
    from ray.data._internal.execution import metadata_fetcher, streaming_executor

    for name, module in zip(DATA_THREADS, (streaming_executor, util, metadata_fetcher), strict=True):
        assert f'"{name}' in inspect.getsource(module)


def test_what_a_node_found_wrong_is_told_in_its_own_words() -> None:
    """Ray wraps an error, more than once, where a task meets it."""
    ours, wrapped = StorageError("s3://bucket/x: nobody answers"), RuntimeError("a task failed\nTraceback …")
    wrapped.__cause__ = RuntimeError("user code")
    wrapped.__cause__.__cause__ = ours
    assert find_cause(wrapped) is ours
    assert str(find_cause(RuntimeError("a node died\nTraceback …"))).endswith("nodes: a node died")
    assert isinstance(find_cause(RuntimeError("a node died")), ReplicaError)


def test_an_address_where_nothing_answers_is_told_at_once_by_the_name_it_was_given_under(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"^cluster.address={address}: no Ray cluster answers"):
            check_connection(ClusterConfig(address=address))
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(SettingsError, match=f"^RAY_ADDRESS={address}: .*: unset it"):
            check_connection(ClusterConfig())


def test_a_head_that_takes_connections_and_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "CONNECT_S", 0.5)
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        address = f"127.0.0.1:{hanging.getsockname()[1]}"
        with pytest.raises(ReplicaError, match=f"^cluster.address={address}: the head node takes connections, but"):
            check_connection(ClusterConfig(address=address))


@pytest.mark.parametrize("farewell", [b"\0", b""])
def test_a_head_that_says_anything_or_hangs_up_is_left_to_ray(farewell: bytes) -> None:
    """As one does that wants TLS."""
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        answering = threading.Thread(target=lambda: answer_once(head, farewell))
        answering.start()
        check_address(f"127.0.0.1:{head.getsockname()[1]}", "cluster.address")
        answering.join()


def answer_once(head: socket.socket, farewell: bytes) -> None:
    connection, _ = head.accept()
    connection.sendall(farewell)
    connection.close()


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:ray"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(SettingsError, match="must be HOST:PORT"):
        check_address(address, "cluster.address")


def check_connection(cluster: ClusterConfig) -> None:
    with connect(cluster, EngineConfig()):
        pass
