"""The first contact with a store, with servers of the test's own."""

import re
import time
from collections.abc import Iterator

import pytest
import s3fs
from fsspec.implementations.memory import MemoryFileSystem

from rank1_batch.errors import AccessError
from rank1_batch.storage.store import Store, find_files, list_files, open_store, write_bytes
from rank1_batch.storage.trouble import watch_stores
from tests.support.seaweed import free_port
from tests.support.silent_server import run_silent_server


@pytest.fixture(autouse=True)
def _six_seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stores have six seconds to answer."""
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("RANK1_BATCH_STORE_TIMEOUT_S", "6")
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def check_refused(reason: str) -> None:
    """Nothing answers at the address: a line says so at once, and an error soon after."""
    lines: list[str] = []
    start = time.monotonic()
    with watch_stores(lines.append), pytest.raises(AccessError, match=re.escape(reason)) as raised:
        find_files("s3://bucket/pairs")
    assert time.monotonic() - start < 20
    (line,) = lines
    assert re.fullmatch(rf"s3://bucket/pairs does not answer \({re.escape(reason)}\), trying for [0-6] s more", line)
    assert "AWS_ENDPOINT_URL" in str(raised.value)


def test_an_address_at_which_nothing_listens_is_told_and_refused_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    check_refused(f"could not connect to {address}")


def test_a_server_that_accepts_and_never_answers_is_told_and_refused_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_silent_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("RANK1_BATCH_STORE_TIMEOUT_S", "2")
        check_refused("no answer in time")


class Counting(MemoryFileSystem):
    """Counts the questions about its root; the first ones get no answer."""

    cachable = False
    protocol = "counting"

    def __init__(self, silent: int) -> None:
        super().__init__()
        self.silent, self.asked = silent, 0

    def info(self, path: str, **kwargs: object) -> object:
        self.asked += 1
        if self.asked <= self.silent:
            raise ConnectionRefusedError("refused")
        raise PermissionError("an answer, too")


def test_a_store_is_asked_for_its_first_answer_once_and_only_where_a_person_watches() -> None:
    files, lines = Counting(silent=1), list[str]()
    store = Store(files, "/bucket", "counting://bucket/pairs")
    write_bytes(store, "x", b"1")
    assert files.asked == 0
    with watch_stores(lines.append):
        for _ in range(3):
            assert [file.path for file in list_files(store)] == ["x"]
    assert files.asked == 2
    assert [line.partition(" (")[0] for line in lines] == ["counting://bucket/pairs does not answer"]


def test_disks_and_memory_are_ready_at_once(tmp_path: object) -> None:
    with watch_stores(pytest.fail):
        assert list_files(open_store(str(tmp_path))) == []
