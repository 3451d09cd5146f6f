"""Where a campaign takes place: two Ray nodes, a job as a user starts it, and SIGKILL for its parts."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import stamina

from tests.support.seaweed import wait_for

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "10",
    "RAY_worker_niceness": "0",
}
"""A death is seen soon, and replicas get their share of a busy machine."""
ACTOR, ENGINE = "JudgeActor", "EngineCore"
STARTED = re.compile(r"judging unit=(\w+)")
LIMIT_S = 300.0


class Site:
    """A head node and a worker node, both able to judge. Only processes below this one are ever killed."""

    def __init__(self, cpus: int) -> None:
        from ray.cluster_utils import Cluster

        self._cpus = cpus
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
        self._worker = self._add_node()
        self.address = str(self._cluster.address)
        head: Any = self._cluster.head_node  # typed as None, which it is before the cluster starts
        self._logs = Path(head.get_logs_dir_path())

    def close(self) -> None:
        """End both nodes."""
        self._cluster.shutdown()

    def start_job(self, settings: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        """Start `python -m jobs.rerank` on this cluster; what it prints is appended to `log`."""
        command = [sys.executable, "-m", "jobs.rerank", *settings, f"cluster.address={self.address}"]
        with log.open("ab") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT)

    def actors(self) -> list[int]:
        """Processes of replicas that are there now."""
        return [process.pid for process in _family(os.getpid()) if ACTOR in _title(process)]

    def kill(self, kind: str, driver: "subprocess.Popen[bytes]", where: float) -> list[int] | None:
        """SIGKILL one part, and get the replicas that die of it; None where there is no such part.

        `where` (0 to 1) chooses among several. Returns when they are dead, and a new node is there for a dead one.
        """
        if kind == "driver":
            actors = self.actors()
            _kill([psutil.Process(driver.pid)])
            driver.wait()
            wait_for(lambda: not _alive(actors), "replicas outlive their driver", LIMIT_S)
            return actors
        if kind == "node":
            return self._kill_node()
        name = ACTOR if kind == "actor" else ENGINE
        found = [process for process in _family(os.getpid()) if name in _title(process)]
        if not found:
            return None
        chosen = found[int(where * len(found))]
        actors = self.actors() if kind == "engine" else [chosen.pid]
        _kill([chosen])
        wait_for(lambda: not _alive(actors), "a replica does not die", LIMIT_S)
        return actors

    def starts(self) -> list[tuple[int, str]]:
        """Each beginning of a unit that the replicas' logs tell: the replica's process and the unit."""
        return [
            (int(name.rpartition("-")[2].removesuffix(".err")), unit)
            for name, text in self._read_logs().items()
            for unit in STARTED.findall(text)
        ]

    def _read_logs(self) -> dict[str, str]:
        """What each replica wrote. When there are many logs, Ray moves those of dead workers into a folder `old`."""
        found = {}
        for folder in (self._logs, self._logs / "old"):
            for log in folder.glob("worker-*.err"):
                with contextlib.suppress(FileNotFoundError):  # moved just now: the second folder has it
                    found[log.name] = log.read_text(errors="replace")
        return found

    def _kill_node(self) -> list[int]:
        raylet = self._worker.all_processes["raylet"][0].process.pid
        doomed = [psutil.Process(raylet), *_family(raylet)]
        actors = [process.pid for process in doomed if ACTOR in _title(process)]
        _kill(doomed)
        wait_for(lambda: not _alive([process.pid for process in doomed]), "a node does not die", LIMIT_S)
        self._cluster.remove_node(self._worker, allow_graceful=False)
        self._worker = self._add_node()
        return actors

    def _add_node(self) -> Any:
        # Ray gives a node 30 seconds to start, however busy the machine, and has no error of its own for it.
        start = functools.partial(self._cluster.add_node, num_cpus=self._cpus)
        return stamina.RetryingCaller(attempts=4, timeout=None).on(Exception)(start)


@contextmanager
def open_site(cpus: int) -> Iterator[Site]:
    """Two nodes for as long as the block runs. Workers inherit the environment of the moment."""
    with environment(ENVIRONMENT):
        site = Site(cpus)
        try:
            yield site
        finally:
            site.close()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes started in the block inherit."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _family(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def _alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
