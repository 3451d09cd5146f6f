"""Connects to Ray: by default to a new cluster on this machine only, or to a cluster that is already running."""

import contextlib
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data

from rank1_batch.cluster.nodes import ask_nodes
from rank1_batch.errors import ReplicaError, SettingsError
from rank1_batch.settings import ClusterConfig, EngineConfig
from rank1_batch.versions import compare_versions, find_versions

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""Environment variables that keep Ray's own messages off the terminal."""

DATA_THREADS = ("StreamingExecutor", "iter_threaded", "ray-data-metadata-prefetch")
"""The beginnings of the names of Ray Data's threads that call Ray."""

DATA_THREADS_END_S = 60.0

RESOLVED_BY_RAY = ("auto", "local")
"""Addresses that need not be HOST:PORT."""

CONNECT_S = 5.0

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of gRPC begins, which Ray's head speaks. A server then says something, if only that it refuses."""


@contextmanager
def connect(cluster: ClusterConfig, engine: EngineConfig) -> Iterator[str]:
    """Connect to Ray for the block. Yields the folder of its logs, where this process's own output goes, too.

    Raises SettingsError if this machine is too small for the replicas, or if a node has other versions of the packages
    that affect scores. Raises ReplicaError if the cluster does not answer.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = cluster.address or os.environ.get("RAY_ADDRESS") or None
    if address and address not in RESOLVED_BY_RAY and "://" not in address:
        check_address(address, "cluster.address" if cluster.address else "RAY_ADDRESS")
    with divert_output() as chatter:
        try:
            # Without an address Ray would use any cluster that runs on this machine, even if it is somebody else's.
            context: Any = ray.init(
                address=address or "local", log_to_driver=False, include_dashboard=None if address else False
            )
        except ConnectionError as error:
            raise SettingsError([f"cluster.address={address}: no Ray cluster answers there ({error})"]) from error
        except Exception as error:  # Ray has no narrower class: it raises Exception itself if a node starts too slowly
            if "timed out during startup" not in str(error):
                raise
            raise ReplicaError(f"Ray did not start in time: is this machine busy with other work? ({error})") from error
        try:
            if address is None:
                check_capacity(cluster, engine, ray.cluster_resources())
            check_node_versions()
            set_up_ray_data()
            yield _gather_logs(chatter, context.address_info.get("session_dir"))
        finally:
            wait_for_data_threads()
            ray.shutdown()


def check_address(address: str, name: str) -> None:
    """Raises SettingsError where nothing listens at HOST:PORT, and ReplicaError where what listens does not answer.

    Ray itself says so after eight minutes (2.60).
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError([f"{name}={address}: must be HOST:PORT, as ray start prints it"])
    hint = "" if name == "cluster.address" else ": unset it for a Ray of this machine's own"
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), CONNECT_S)
    except OSError as error:
        raise SettingsError([f"{name}={address}: no Ray cluster answers there ({error}){hint}"]) from error
    with connection, contextlib.suppress(ConnectionError):  # an end of the connection is an answer, too
        try:
            connection.sendall(HTTP2)
            connection.recv(1)
        except TimeoutError as error:
            hangs = f"the head node takes connections, but does not answer within {CONNECT_S:g} s. Is it well?"
            raise ReplicaError(f"{name}={address}: {hangs}{hint}") from error


def set_up_ray_data() -> None:
    """Set Ray Data's options for everything that this process runs."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A replica may wait for hours for a spot machine; Ray ends a job after 30 minutes without progress.
    context.execution_no_progress_timeout_s = -1
    # A replica that cannot start is replaced. `cluster.starts` has the limit.
    context.max_consecutive_actor_init_deaths = -1


def wait_for_data_threads() -> None:
    """Return when Ray Data's threads have ended. If an iteration is left early, some run for a moment longer.

    A thread that calls Ray, or frees one of Ray's objects, during `ray.shutdown()` ends the process with exit code 1
    and no message (Ray 2.60, "the core worker has already been shutdown").
    """
    for thread in threading.enumerate():
        if thread.name.startswith(DATA_THREADS):
            thread.join(DATA_THREADS_END_S)


@contextmanager
def divert_output() -> Iterator[Path]:
    """Send what the process writes to stdout and stderr to a file during the block.

    Ray's C++ parts and its progress messages cannot be silenced in another way. To print on the terminal, use a copy
    of the descriptor that was made before.
    """
    handle, name = tempfile.mkstemp(prefix="rank1_batch-", suffix=".log")
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    try:
        for descriptor in kept:
            os.dup2(handle, descriptor)
        yield Path(name)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(handle)


def _gather_logs(chatter: Path, session: str | None) -> str:
    """The folder of all logs. The file with this process's output is moved into Ray's folder if possible."""
    folder = Path(session or "") / "logs"
    if not session or not os.access(folder, os.W_OK):
        return str(chatter)
    with contextlib.suppress(OSError):
        chatter.rename(folder / f"rank1_batch-driver-{os.getpid()}.log")
    return str(folder)


def check_capacity(cluster: ClusterConfig, engine: EngineConfig, resources: dict[str, float]) -> None:
    """Raises SettingsError if the replicas need more than these resources. They would wait for ever."""
    wanted = {"CPU": engine.cpus * cluster.replicas, "GPU": float(engine.gpus * cluster.replicas)}
    short = [
        f"cluster.replicas={cluster.replicas} needs {need:g} {name}s, but this machine has {resources.get(name, 0):g}"
        for name, need in wanted.items()
        if need > resources.get(name, 0)
    ]
    if short and engine.gpus and not resources.get("GPU"):
        short.append("engine=vllm_cpu judges without a GPU (small models); cluster.address=… uses a running cluster")
    if short:
        raise SettingsError(short)


def check_node_versions() -> None:
    """Raises SettingsError if a node that is up has other versions than this process, or none of this package."""
    mine = find_versions()
    answers = ask_nodes(ray.nodes(), find_versions)
    problems = [
        f"node {node}: {problem}" for node, found in answers.items() for problem in compare_versions(mine, found)
    ]
    if problems:
        raise SettingsError([*problems, "install the same versions on every node"])
