"""Ray nodes that act as separate machines: each has its own namespaces, and a network joins them.

A node has its own address, host name, processes, /tmp and home. It can read the rest of this machine's disk. It can
write only to the folders that a test shares. Needs root, and Debian's util-linux and iproute2. A namespace ends with
its first process, and that process ends with the test.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.seaweed import KEY, SECRET, USERS, build_command

NETWORK = "10.77.0"
"""The addresses of every cluster: each is alone with its network."""

SWITCH, S3_PORT, RAY_PORT = f"{NETWORK}.1", 8333, 6379

BUCKET = "s3://bucket"

NSENTER, UNSHARE, IP = "/usr/bin/nsenter", "/usr/bin/unshare", "/usr/sbin/ip"

HOME = "/run/home"

LIMIT_S = 60.0

STORE_BYTES = 100_000_000
"""Of each node: rows never come into Ray's object store."""

ENV = {
    "HOME": HOME,
    "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": str(ROOT),
    "AWS_ENDPOINT_URL": f"http://{SWITCH}:{S3_PORT}",
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "RAY_AUTH_MODE": "disabled",
    # A lost node is noticed soon, and no worker starts before it is needed.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}
"""The environment of all commands."""

FIRST_PROCESS = """
set -e
ip link set lo up
hostname "$NAME"
mount -t tmpfs tmpfs /run
for number in $(seq $#); do
  mkdir -p /run/kept/$number && mount --bind "${!number}" /run/kept/$number
done
mount -o remount,bind,ro /
mount -o remount,bind,ro /run/kept/1
for folder in /tmp /var/tmp /dev/shm; do mount -t tmpfs tmpfs $folder; done
for number in $(seq $#); do
  mkdir -p "${!number}" && mount --move /run/kept/$number "${!number}"
done
mkdir -p $HOME && cd $HOME
echo ready
read -r _ || true
"""
"""Turns a shell into a node. The node ends with the shell. Arguments: this checkout, and the shared folders."""


class Machine:
    """A machine made of namespaces: commands run in it, until it is killed."""

    def __init__(self, name: str, address: str, logs: Path, shared: Sequence[Path] = ()) -> None:
        self.name, self.address = name, address
        self._log = (logs / f"{name}.log").open("a")
        isolate = [UNSHARE, "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._outer = subprocess.Popen(
            [*isolate, "bash", "-c", FIRST_PROCESS, "bash", str(ROOT), *map(str, shared)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**ENV, "NAME": name},
        )  # fmt: skip
        assert self._outer.stdout is not None
        assert self._outer.stdout.readline() == "ready\n", f"{name} did not start, see {self._log.name}"
        self._started: list[subprocess.Popen[bytes]] = []
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        self.pid = int(children.read_text())

    def run(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a command in the home of the node. stdout and stderr come as one stream. It ends with the node."""
        return subprocess.Popen(self._inside(command, env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def check(self, command: Sequence[str], limit_s: float = LIMIT_S) -> str:
        """The output of a command, which must succeed."""
        job = self.run(command)
        try:
            printed, _ = job.communicate(timeout=limit_s)
        finally:
            job.kill()
        assert job.returncode == 0, f"{self.name}: {shlex.join(command)}: {printed}"
        return printed

    def start(self, command: Sequence[str]) -> None:
        """Start a service. Its output goes to the log of the node."""
        self._started.append(subprocess.Popen(self._inside(command, None), stdout=self._log, stderr=self._log))

    def pause(self) -> None:
        """Stop all processes at once, like a machine that hangs."""
        self._signal("STOP")

    def resume(self) -> None:
        """Continue all processes."""
        self._signal("CONT")

    def kill(self) -> None:
        """Kill all processes at once, like a machine that is taken away. The kernel kills them with the first one."""
        self._outer.kill()
        self._outer.communicate(timeout=LIMIT_S)
        for service in self._started:
            service.wait(LIMIT_S)
        self._log.close()

    def _signal(self, name: str) -> None:
        # -1 means all processes of the node except the first one and the sender.
        subprocess.run([NSENTER, "-t", str(self.pid), "-p", "bash", "-c", f"kill -{name} -1"], check=True)

    def _inside(self, command: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        own = {**ENV, **(env or {})}
        enter = [NSENTER, "-t", str(self.pid), "--all", "env", "-i", f"--chdir={HOME}"]
        return [*enter, *(f"{key}={value}" for key, value in own.items()), *command]


class Node(Machine):
    """A machine that runs Ray, on a network cable that can be pulled."""

    def __init__(self, switch: Machine, number: int, logs: Path, shared: Sequence[Path] = ()) -> None:
        super().__init__(f"node{number}", f"{NETWORK}.{number + 1}", logs, shared)
        self._switch, self._port = switch, f"port{number}"
        between = ["name", self._port, "netns", str(switch.pid), "type", "veth"]
        subprocess.run([IP, "link", "add", *between, "peer", "name", "eth0", "netns", str(self.pid)], check=True)
        switch.check(["ip", "link", "set", self._port, "master", "bridge", "up"])
        self.check(["ip", "address", "add", f"{self.address}/24", "dev", "eth0"])
        self.check(["ip", "link", "set", "eth0", "up"])

    def cut_off(self) -> None:
        """Pull the cable. Packets are lost without an error."""
        self._switch.check(["ip", "link", "set", self._port, "down"])

    def reconnect(self) -> None:
        """Put the cable back."""
        self._switch.check(["ip", "link", "set", self._port, "up"])

    def start_ray(self, head: str, cpus: int, gpus: int) -> None:
        """Return when this node is the head, or has joined the Ray cluster of the head."""
        join = [f"--address={head}:{RAY_PORT}"]
        if head == self.address:
            join = ["--head", f"--port={RAY_PORT}", "--include-dashboard=false"]
        own = [f"--node-ip-address={self.address}", f"--num-cpus={cpus:g}", f"--num-gpus={gpus}"]
        self.check(["ray", "start", *join, *own, f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"])


class Cluster:
    """Nodes on one switch, with an S3 server if a test wants one. `folder` is for logs and copies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.switch = Machine("switch", SWITCH, folder, [folder])
        self.machines: list[Machine] = [self.switch]

    @property
    def address(self) -> str:
        """The value for `cluster.address`. The first node is the head."""
        return f"{NETWORK}.2:{RAY_PORT}"

    def add_node(self, cpus: int = 1, gpus: int = 0, share: Sequence[Path] = ()) -> Node:
        """Add a node with this many CPUs and GPUs, as Ray counts them. It sees the shared folders."""
        node = Node(self.switch, len(self.machines), self._folder, share)
        self.machines.append(node)
        node.start_ray(f"{NETWORK}.2", cpus, gpus)
        return node

    def put(self, source: Path, url: str) -> None:
        """Copy a folder below the cluster's own to the S3 server."""
        self._copy("put", str(source), url)

    def get(self, url: str, target: Path) -> None:
        """Copy a folder of the S3 server to one below the cluster's own."""
        self._copy("get", url, str(target))

    def start_network(self) -> None:
        """The switch."""
        self.switch.check(["ip", "link", "add", "bridge", "type", "bridge"])
        self.switch.check(["ip", "address", "add", f"{self.switch.address}/24", "dev", "bridge"])
        self.switch.check(["ip", "link", "set", "bridge", "up"])

    def start_s3(self) -> None:
        """Return when the S3 server answers and has its bucket."""
        ports = [9333, 8080, 8888, S3_PORT]
        self.switch.check(["bash", "-c", 'echo "$0" > s3.json', USERS])
        self.switch.start(build_command(Path(HOME), self.switch.address, ports))
        answers = f"(exec 3<>/dev/tcp/{self.switch.address}/{S3_PORT}) 2>/dev/null"
        self.switch.check(["bash", "-c", f"until {answers}; do sleep 0.1; done"])  # a poll of the port
        self.switch.check(["python", "-c", f"import s3fs; s3fs.S3FileSystem().mkdir('{BUCKET}')"])

    def _copy(self, verb: str, source: str, target: str) -> None:
        code = f"import sys, s3fs; s3fs.S3FileSystem().{verb}(*sys.argv[1:], recursive=True)"
        self.switch.check(["python", "-c", code, source.rstrip("/") + "/", target])


def check_tools() -> None:
    """Fail if this is not root, who alone may make namespaces. Install iproute2 if the image lacks it."""
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    if not Path(IP).exists():
        install = "apt-get update && apt-get install --yes --no-install-recommends iproute2"
        subprocess.run(["/usr/bin/bash", "-c", install], check=True)


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster without a node. Afterwards only the logs in its folder are left."""
    check_tools()
    cluster = Cluster(folder)
    try:
        cluster.start_network()
        yield cluster
    finally:
        for machine in cluster.machines:
            machine.kill()
