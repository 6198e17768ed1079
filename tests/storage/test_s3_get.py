"""Streams: one signed GET per range, errors with their reason, and boto3 for the other answers."""

import pytest

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from job.storage.store import Interrupted
from tests.servers.scripted_s3 import Answer, Request, s3_error, scripted_s3, silent_server
from tests.storage.conftest import RotatedKeys

pytestmark = pytest.mark.usefixtures("any_credentials")


DATA = bytes(range(256)) * 400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason", "received"),
    [
        (Answer(206, DATA, sent_bytes=1000), "truncated", 1000),
        (Answer(None), "connection", 0),
        (s3_error(500, "InternalError", "We encountered an internal error."), "server_error", 0),
        (s3_error(502, "BadGateway", "From a proxy."), "server_error", 0),
        (s3_error(503, "SlowDown", "Please reduce your request rate."), "throttled", 0),
        (s3_error(503, "ServiceUnavailable", "Reduce your request rate."), "throttled", 0),
        (s3_error(429, "TooManyRequests", "Slow."), "throttled", 0),
        (Answer(503, b"<html>from a load balancer</html>"), "throttled", 0),
        (Answer(504, b""), "server_error", 0),
        (Answer(520, b"from a content network"), "server_error", 0),
        (Answer(529, b""), "server_error", 0),
        (Answer(408, b""), "timeout", 0),
        (
            s3_error(400, "RequestTimeout", "Your socket connection was not read from."),
            "timeout",
            0,
        ),
        (s3_error(400, "ExpiredToken", "The provided token has expired."), "credentials", 0),
        (s3_error(403, "InvalidAccessKeyId", "It does not exist."), "credentials", 0),
    ],
)
def test_a_stream_sends_one_request_and_gives_the_reason_of_a_failure(
    answer: Answer, reason: str, received: int
) -> None:
    pieces: list[bytes] = []
    with scripted_s3([answer]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=8)
        )
        with pytest.raises(Interrupted, match="s3://bucket/k: cannot read") as caught:
            store.stream("k", 0, len(DATA), pieces.append)
        # boto3 is asked what a refusal means
        assert len(server.requests) == (2 if reason == "credentials" else 1)
    assert caught.value.reason == reason
    assert len(b"".join(pieces)) == received


def test_a_stream_that_falls_silent_is_cut() -> None:
    with silent_server() as url:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=url, read_timeout_seconds=0.2))
        with pytest.raises(Interrupted) as caught:
            store.stream("k", 0, 10, bytes)
    assert caught.value.reason == "timeout"


def test_an_unreachable_server_is_an_interruption(free_port: int) -> None:
    store = S3Store("s3://bucket", StorageSpec(endpoint_url=f"http://127.0.0.1:{free_port}"))
    with pytest.raises(Interrupted, match="cannot reach") as caught:
        store.stream("k", 0, 10, bytes)
    assert caught.value.reason == "connection"


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket"), (400, "InvalidRequest")]
)
def test_permanent_errors_are_not_interruptions(status: int, code: str) -> None:
    with scripted_s3([s3_error(status, code, "No.")]) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(StorageError) as caught:
            store.stream("k", 0, 10, bytes)
    assert not isinstance(caught.value, Interrupted)


def test_a_server_that_ignores_the_range_is_an_error() -> None:
    with scripted_s3([Answer(200, DATA)]) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(
            StorageError, match="requested bytes from 5 on, the server sent the whole object"
        ):
            store.stream("k", 5, 10, bytes)


def test_boto3_gets_what_a_direct_request_cannot() -> None:
    """A redirect to the bucket's region, which boto3 follows: from then on it is asked at once."""

    def answer(request: Request) -> Answer:
        if "/eu-central-1/" in request.headers["Authorization"]:
            return (
                Answer(200, b"", {"x-amz-bucket-region": "eu-central-1"})
                if request.method == "HEAD"
                else Answer(206, b"data")
            )
        return s3_error(
            301, "PermanentRedirect", "Use the bucket's region.", "<Region>eu-central-1</Region>"
        )

    pieces: list[bytes] = []
    with scripted_s3(answer) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        for _ in range(3):
            store.stream("k", 0, 4, pieces.append)
        before = len(server.requests)
        store.stream("k", 0, 4, pieces.append)
        assert len(server.requests) == before + 1
    assert pieces == [b"data"] * 4


def test_direct_requests_continue_after_one_that_needed_boto3() -> None:
    answers = iter([s3_error(400, "Strange", "Once."), Answer(206, b"data")])
    with scripted_s3(lambda request: next(answers, Answer(206, b"data"))) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        for _ in range(3):
            store.stream("k", 0, 4, bytes)
        ways = [
            "Amz-Sdk-Request" in {name.title() for name in request.headers}
            for request in server.requests
        ]
        assert ways == [False, True, False, False]  # only boto3 says so about itself


@pytest.mark.parametrize(
    ("body", "received"), [(b"4\r\ndata\r\n0\r\n\r\n", b"data"), (b"2\r\nda\r\n0\r\n\r\n", b"da")]
)
def test_a_chunked_body_ends_at_its_last_chunk(body: bytes, received: bytes) -> None:
    pieces: list[bytes] = []
    with scripted_s3([Answer(206, body, {"Transfer-Encoding": "chunked"})]) as server:
        S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url)).stream(
            "k", 0, 4, pieces.append
        )
    assert b"".join(pieces) == received


def test_a_truncated_chunked_body_is_an_interruption() -> None:
    with scripted_s3(
        [Answer(206, b"4\r\nda", {"Transfer-Encoding": "chunked"}, sent_bytes=5)]
    ) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(Interrupted):
            store.stream("k", 0, 4, bytes)


def test_a_stream_carries_the_session_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    with scripted_s3([Answer(206, b"data")]) as server:
        S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url)).stream(
            "k", 0, 4, bytes
        )
        assert server.requests[0].headers["X-Amz-Security-Token"] == "a-session-token"
        assert server.requests[0].headers["Range"] == "bytes=0-3"
        assert "AWS4-HMAC-SHA256" in server.requests[0].headers["Authorization"]


def test_streams_reuse_one_connection() -> None:
    with scripted_s3([Answer(206, DATA)]) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        for _ in range(5):
            store.stream("k", 0, len(DATA), bytes)
        assert len(server.requests) == 5
        assert server.num_connections == 1


def test_refused_credentials_are_read_again(rotated_keys: RotatedKeys) -> None:
    """A key file is replaced during the run: the client with the old keys is dropped."""
    pieces: list[bytes] = []
    with scripted_s3(rotated_keys.answer(Answer(206, b"data"))) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        for _ in range(2):
            with pytest.raises(Interrupted):
                store.stream("k", 0, 4, pieces.append)
        rotated_keys.rotate()
        store.stream("k", 0, 4, pieces.append)
    assert pieces == [b"data"]


def test_a_stream_uses_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_s3([Answer(206, b"data")]) as server:
        monkeypatch.setenv("HTTP_PROXY", server.endpoint_url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        store = S3Store("s3://bucket", StorageSpec(endpoint_url="http://s3.invalid"))
        store.stream("k", 0, 4, bytes)
        assert server.requests[0].path == "http://s3.invalid/bucket/k"
