"""`gs://` under faults, and a whole job, on an emulator of Google Cloud Storage.

It knows no conditional puts. Another emulator that does keeps the stores' contract (tests/contracts).
"""

import json
from collections.abc import Callable, Iterator
from http import HTTPStatus

import gcsfs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gcp_storage_emulator.server import create_server

from benchmarks.faults.proxy import FAULTS, Faults, Proxy, run_proxy
from rank1_batch.errors import AccessError, StorageError
from rank1_batch.storage.retries import is_transient
from rank1_batch.storage.store import (
    create_bytes,
    delete_file,
    list_files,
    open_store,
    read_bytes,
    read_ranges,
    stat_file,
    store_errors,
    write_bytes,
)
from tests.support.seaweed import free_port
from tests.support.tiny_model import tiny_pairs

BUCKET = "gs://rank1-test"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an emulator with one bucket."""
    port = free_port()
    server = create_server("localhost", port, in_memory=True, default_bucket=BUCKET.removeprefix("gs://"))
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks Google what kind of bucket this is
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield f"http://localhost:{port}"
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def proxy(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy without faults, at which stores opened by the test find the emulator."""
    with run_proxy(emulator, Faults(share=0)) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        yield proxy


@pytest.mark.parametrize("kind", [None, *(kind for kind in FAULTS if kind != "hang")])
def test_every_request_gets_its_answer_also_where_a_fifth_of_them_meet_a_fault(proxy: Proxy, kind: str | None) -> None:
    store = open_store(f"{BUCKET}/deep")
    if kind is not None:
        proxy.faults = Faults(share=0.2, kinds=(kind,), delay_s=0.05)
    for number in range(5):
        write_bytes(store, f"files/{number}", b"%d" % number * 1000)
    write_bytes(store, "files/0", b"new")
    assert create_bytes(store, "created", b"once")
    assert [file.path for file in list_files(store)] == ["created", *(f"files/{number}" for number in range(5))]
    assert read_bytes(store, "files/0") == b"new"
    assert read_bytes(store, "none") is None
    ranges = read_ranges(store, [(f"files/{number}", 10, 20) for number in range(1, 5)])
    assert ranges == [b"%d" % number * 10 for number in range(1, 5)]
    first, other = stat_file(store, "files/0"), stat_file(store, "files/1")
    assert first
    assert other
    assert first.identity != other.identity
    assert first.size_bytes == 3
    delete_file(store, "created")
    delete_file(store, "created")
    assert stat_file(store, "created") is None
    assert kind is None or proxy.counts[kind] > 0


@pytest.mark.usefixtures("emulator")
def test_a_bucket_that_is_not_there_is_named() -> None:
    with pytest.raises(AccessError, match="gs://rank1-none/x: there is no such file, folder or bucket"):
        list_files(open_store("gs://rank1-none/x"))


@pytest.mark.usefixtures("emulator")
def test_what_google_refuses_is_no_permission_and_what_it_cannot_do_now_is_tried_again() -> None:
    """Errors as gcsfs makes them of Google's answers."""
    from gcsfs.retry import HttpError, validate_response

    store = open_store(f"{BUCKET}/x")
    answers = {status: answer(status) for status in (401, 403, 429, 503)}
    assert [status for status, error in answers.items() if is_transient(error)] == [429, 503]
    for status, kind in {401: AccessError, 403: AccessError, 503: StorageError}.items():
        with pytest.raises(kind, match="gs://rank1-test/x/y"), store_errors(store, "y"):
            raise answers[status]
    assert isinstance(answers[401], HttpError)
    with pytest.raises(FileExistsError):  # what a conditional put is answered with
        validate_response(HTTPStatus.PRECONDITION_FAILED, b"", "y")


@pytest.mark.usefixtures("emulator")
def test_a_whole_job_on_gs_and_twice_is_once(run_job: Callable[..., tuple[int, str]]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(tiny_pairs(200), sink, row_group_size=70)
    write_bytes(open_store(BUCKET), "pairs/0.parquet", sink.getvalue().to_pybytes())
    settings = [
        "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150",
        f"input.path={BUCKET}/pairs", f"output.path={BUCKET}/judged",
    ]  # fmt: skip
    code, printed = run_job(*settings)
    assert code == 0, printed
    output = open_store(f"{BUCKET}/judged")
    assert json.loads(read_bytes(output, "summary.json") or b"{}")["rows"] == 200
    before = list_files(output)
    code, printed = run_job(*settings)
    assert code == 0, printed
    assert "nothing to do: all 200 rows are judged" in printed
    assert list_files(output) == before


@pytest.mark.usefixtures("emulator")
def test_who_has_no_credentials_is_told_where_they_are_looked_for() -> None:
    """Without credentials gcsfs asks as nobody: Google's own answer to that."""
    message = "Anonymous caller does not have storage.objects.list access to the Google Cloud Storage bucket."
    with pytest.raises(AccessError, match="GOOGLE_APPLICATION_CREDENTIALS"), store_errors(open_store(BUCKET), "y"):
        raise answer(401, message)


def answer(status: int, message: str = "as a test has it") -> Exception:
    """The error that gcsfs makes of a status."""
    from gcsfs.retry import validate_response

    body = json.dumps({"error": {"code": status, "message": message}}).encode()
    with pytest.raises(Exception, match=message) as caught:
        validate_response(status, body, "y")
    return caught.value
