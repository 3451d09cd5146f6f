import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from rank1_batch.storage.trouble import describe_failure, say_trouble, say_waiting, watch_stores

URL = "https://s3.example.com/bucket/key?list-type=2&prefix=x"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EndpointConnectionError(endpoint_url=URL), "could not connect to https://s3.example.com"),
        (ConnectTimeoutError(endpoint_url=URL), "no answer in time from https://s3.example.com"),
        (ReadTimeoutError(endpoint_url=URL), "no answer in time from https://s3.example.com"),
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (ConnectionResetError(), "ConnectionResetError"),
        (OSError("SlowDown:\n  503"), "SlowDown: 503"),
    ],
    ids=repr,
)
def test_a_failure_is_described_in_a_few_words(error: Exception, words: str) -> None:
    assert describe_failure(error) == words


def test_a_store_that_does_not_answer_is_a_line_now_and_then() -> None:
    lines: list[str] = []
    with watch_stores(lines.append):
        say_waiting("s3://x", TimeoutError(), waited_s=5.0, left_s=195.0)
        assert lines == [], "a short failure is not worth a line"
        for waited_s in (15.0, 30.0, 45.0):
            say_waiting("s3://x", TimeoutError(), waited_s, left_s=200.0 - waited_s)
    assert lines == ["s3://x does not answer (no answer in time), trying for 185 s more"]


def test_where_nobody_watches_the_line_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    say_trouble("s3://x does not answer")
    assert caplog.messages == ["s3://x does not answer"]
