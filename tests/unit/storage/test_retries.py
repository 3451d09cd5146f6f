import time
from io import BytesIO

import pytest
import stamina

from rank1_batch.errors import StorageError
from rank1_batch.storage.retries import PatientFile, count_retries, is_transient, retry, s3_options, upload_limit_s
from rank1_batch.storage.store import open_store, write_bytes
from tests.support.silent_server import run_silent_server


class Failing:
    """A request that fails so many times."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.asked = failures, error, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise self.error
        return "answer"


def test_every_repeated_request_is_counted() -> None:
    before = count_retries()
    with stamina.set_testing(True, attempts=9):
        assert retry(Failing(0, TimeoutError())) == "answer"
        assert count_retries() == before
        assert retry(Failing(3, TimeoutError())) == "answer"
    assert count_retries() == before + 3


def test_a_store_is_given_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK1_BATCH_STORE_TIMEOUT_S", "0.1")
    request, start = Failing(1000, ConnectionRefusedError("nobody there")), time.monotonic()
    with pytest.raises(ConnectionRefusedError, match="nobody there"):
        retry(request)
    assert 2 <= request.asked <= 3
    assert time.monotonic() - start < 10


def test_a_file_goes_on_reading_where_a_read_failed() -> None:
    class Flaky(BytesIO):
        failures = 2

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 4 and self.failures:
                self.failures -= 1
                raise ConnectionResetError("cut")
            return super().read(size)

    with stamina.set_testing(True, attempts=9), PatientFile(lambda: Flaky(b"0123456789")) as file:
        assert [file.read(4), file.read(4), file.read()] == [b"0123", b"4567", b"89"]
        file.seek(-3, 2)
        assert (file.tell(), file.read()) == (7, b"789")


def client_error(code: str) -> Exception:
    from botocore.exceptions import ClientError

    error: Exception = ClientError({"Error": {"Code": code, "Message": ""}}, "PutObject")
    return error


def botocore_error(name: str) -> Exception:
    import botocore.exceptions

    kind: type[Exception] = getattr(botocore.exceptions, name)
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (client_error("SlowDown"), True),
        (client_error("503"), True),
        (client_error("InternalError"), True),
        (client_error("ConditionalRequestConflict"), True),  # S3's 409: another put was under way
        (client_error("AccessDenied"), False),
        (client_error("ExpiredToken"), False),
        (botocore_error("EndpointConnectionError"), True),
        (botocore_error("ReadTimeoutError"), True),
        (botocore_error("NoCredentialsError"), False),
        (TimeoutError(), True),
        (PermissionError(), False),
        (OSError(28, "No space left on device"), False),
        (ZeroDivisionError(), False),
    ],
    ids=repr,
)
def test_only_what_another_try_may_mend_is_transient(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


def test_an_upload_that_is_accepted_and_never_answered_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Expect: 100-continue`: the client waits for a word before it sends the body, and no timeout of aiohttp runs."""
    monkeypatch.setenv("RANK1_BATCH_STORE_TIMEOUT_S", "1")
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with run_silent_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(StorageError, match=r"s3://silent/x does not answer \(no answer in time from http://127"):
            write_bytes(open_store("s3://silent"), "x", b"content")


def test_the_limit_of_an_upload_grows_with_its_bytes() -> None:
    assert upload_limit_s(0) == 25
    assert upload_limit_s(50 * 2**20) == 25 + 200


def test_one_request_to_s3_cannot_wait_for_minutes() -> None:
    config = s3_options()["config_kwargs"]
    tries = config["retries"]["total_max_attempts"]
    assert config["read_timeout"] * tries + config["connect_timeout"] * tries <= 90
