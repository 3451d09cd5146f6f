"""Real parts for tests: an S3 server, a small model for vLLM, jobs as a user starts them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs

from tests.tiny_model import build_tiny_model

KEY, SECRET = "rank1-test-key", "rank1-test-secret"
START_LIMIT_S = 60.0


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a SeaweedFS server with one user."""
    folder = tmp_path_factory.mktemp("seaweed")
    user = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
    ports = [free_port() for _ in range(4)]
    command = [
        str(Path(sys.executable).parent / "weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={ports[0]}", f"-volume.port={ports[1]}", f"-filer.port={ports[2]}",
        "-s3", f"-s3.port={ports[3]}", f"-s3.config={folder / 's3.json'}",
        "-volume.max=50", "-master.volumeSizeLimitMB=256",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(ports[3]), f"SeaweedFS did not start, see {folder / 'log'}")
        yield f"http://127.0.0.1:{ports[3]}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> s3fs.S3FileSystem:
    """A file system on the server; jobs find it by the usual variables of the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture
def bucket(s3: s3fs.S3FileSystem) -> str:
    """An empty bucket, as a URL."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with `<think>` and `</think>` as one token each."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The folder of the demo models, which `make model` builds."""
    cache = Path(os.environ.get("RANK1_BATCH_CACHE", Path.home() / ".cache" / "rank1_batch"))
    assert (cache / "smollm2-135m-instruct-awq").is_dir(), "the demo model is missing: make model"
    return cache


@pytest.fixture
def start_job() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `python -m jobs.rerank` with settings, in a process group of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*settings: str) -> "subprocess.Popen[str]":
        job = subprocess.Popen(
            [sys.executable, "-m", "jobs.rerank", *settings],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        started.append(job)
        return job

    yield start
    for job in started:
        if job.poll() is None:
            job.kill()
            job.communicate()


@pytest.fixture
def run_job(start_job: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., tuple[int, str]]:
    """Runs `python -m jobs.rerank` to its end: its exit code, and all that it printed."""

    def run(*settings: str) -> tuple[int, str]:
        job = start_job(*settings)
        printed, _ = job.communicate(timeout=280)
        return job.returncode, printed

    return run


@pytest.fixture
def noveleval(tmp_path: Path) -> Path:
    """A folder with the first shards of the bundled data: eight queries, 160 pairs."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    source = Path(__file__).parents[2] / "examples" / "noveleval" / "pairs" / "part-0.parquet"
    shutil.copy(source, folder)
    return folder


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
    """Return as soon as the condition holds; fail with the message when it does not within the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.05)  # the pause of a poll, not a guess at how long something takes


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
