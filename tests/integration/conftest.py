"""Real parts for tests: an S3 server, the demo model, jobs as a user starts them."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import s3fs

from tests.support.paths import ROOT
from tests.support.seaweed import KEY, SECRET, run_seaweed

ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""vLLM's engine and its model in one process, as on one GPU: on CPUs it starts another, which loads for 15 s more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test goes first: a worker that came to it last would be alone with it at the end."""
    items.sort(key=lambda item: item.path.stem != "test_whole_way")


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a SeaweedFS server with one user."""
    with run_seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint


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
def demo_model() -> Path:
    """The folder of the demo models, which `make model` builds."""
    cache = Path(os.environ.get("RANK1_BATCH_CACHE", Path.home() / ".cache" / "rank1_batch"))
    assert (cache / "smollm2-135m-rank1-awq").is_dir(), "the demo model is missing: make model"
    return cache


class StartedJob(Protocol):
    """Starts `python -m jobs.<name>` with settings."""

    def __call__(self, *settings: str, name: str = "rerank") -> "subprocess.Popen[str]": ...


@pytest.fixture
def start_job() -> Iterator[StartedJob]:
    """Starts `python -m jobs.rerank` (or another job) with settings; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*settings: str, name: str = "rerank") -> "subprocess.Popen[str]":
        job = subprocess.Popen(
            [sys.executable, "-m", f"jobs.{name}", *settings],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        )  # fmt: skip
        started.append(job)
        return job

    yield start
    for job in started:
        if job.poll() is None:
            job.kill()
            job.communicate()


@pytest.fixture
def run_job(start_job: StartedJob) -> Callable[..., tuple[int, str]]:
    """Runs `python -m jobs.rerank` (or another job) to its end: its exit code, and all that it printed."""

    def run(*settings: str, name: str = "rerank", limit_s: float = 280) -> tuple[int, str]:
        job = start_job(*settings, name=name)
        printed, _ = job.communicate(timeout=limit_s)
        return job.returncode, printed

    return run
