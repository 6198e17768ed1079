"""The proxy passes requests unchanged, and injects exactly the faults that it was given."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    FlexibleChecksumError,
    ResponseStreamingError,
)

from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.faults import Fault
from tests.servers.prometheus import wait_for
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import Answer, scripted_s3

DATA = bytes(range(256)) * 4096  # 1 MiB
HALF = len(DATA) // 2
LARGE = DATA * 16  # more than the kernel buffers
SESSION = boto3.session.Session()  # reads the description of S3 once, a tenth of a second


@pytest.fixture
def proxy(s3_env: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(s3_env.endpoint_url) as running:
        yield running


@pytest.fixture
def bucket(s3_env: S3Server) -> str:
    return s3_env.new_bucket()


def client_of(proxy: FaultProxy, **more: Any) -> Any:
    """Return a client that tries once; ``more`` are options of botocore."""
    config = Config(
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        max_pool_connections=16,
        read_timeout=20,
        **more,
    )
    return SESSION.client(
        "s3",
        os.environ["AWS_REGION"],
        endpoint_url=proxy.endpoint_url,
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


def get(client: Any, bucket: str, key: str = "k.u8", **more: Any) -> bytes:
    return bytes(client.get_object(Bucket=bucket, Key=key, **more)["Body"].read())


def error_of(client: Any, bucket: str, key: str = "k.u8") -> str | None:
    """The code of the error that a GET gives; None where it gives none."""
    try:
        get(client, bucket, key)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


@pytest.mark.s3
def test_requests_and_answers_pass_unchanged(
    proxy: FaultProxy, bucket: str, s3_env: S3Server
) -> None:
    client = client_of(proxy)
    key = "a folder/ü+%.u8"
    started = time.monotonic()
    client.put_object(Bucket=bucket, Key=key, Body=DATA)
    assert (
        time.monotonic() - started < 0.9
    )  # botocore waits a second for a "100 Continue" that does not come
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert (s3_env.folder / bucket / key).read_bytes() == DATA
    assert get(client, bucket, key) == DATA
    assert get(client, bucket, "empty") == b""
    assert get(client, bucket, key, Range="bytes=1000-70000") == DATA[1000:70001]
    assert client.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(DATA)
    assert [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]] == [
        key,
        "empty",
    ]
    assert error_of(client, bucket, "missing") == "NoSuchKey"
    client.delete_object(Bucket=bucket, Key=key)
    assert error_of(client, bucket, key) == "NoSuchKey"
    path = f"/{bucket}/{key}"
    assert (
        proxy.requests[("PUT", path)]
        == proxy.requests[("HEAD", path)]
        == proxy.requests[("DELETE", path)]
        == 1
    )
    assert proxy.requests[("GET", path)] == 3
    assert not proxy.injected


@pytest.mark.s3
def test_a_multipart_upload_and_download_pass(proxy: FaultProxy, bucket: str) -> None:
    client = client_of(proxy)
    parts = TransferConfig(
        multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4
    )
    client.upload_fileobj(BytesIO(DATA * 12), bucket, "large", Config=parts)
    copy = BytesIO()
    client.download_fileobj(bucket, "large", copy, Config=parts)
    assert copy.getvalue() == DATA * 12
    assert (
        proxy.requests[("PUT", f"/{bucket}/large")]
        == proxy.requests[("GET", f"/{bucket}/large")]
        == 3
    )
    assert proxy.body_bytes[f"/{bucket}/large"] >= 12 * len(DATA)


@pytest.mark.s3
def test_a_chunked_body_with_trailers_passes(proxy: FaultProxy, bucket: str) -> None:
    client = client_of(proxy)
    sent = []

    def checksum_in_trailer(
        params: Any, **_: Any
    ) -> None:  # which botocore itself does only over TLS
        params["context"]["checksum"]["request_algorithm"]["in"] = "trailer"

    client.meta.events.register("before-call.s3.PutObject", checksum_in_trailer)
    client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers))
    )
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    assert sent[0]["Transfer-Encoding"] == b"chunked"
    assert (
        get(client_of(proxy), bucket) == DATA
    )  # on a new connection: the gateway ends that of a chunked request


@pytest.mark.s3
def test_bytes_are_counted_by_path(proxy: FaultProxy, bucket: str) -> None:
    client = client_of(proxy)
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    client.put_object(Bucket=bucket, Key="other", Body=b"abc")
    proxy.fault(Fault.ERROR_500, times=1)
    assert error_of(client, bucket) == "InternalError"
    get(client, bucket)
    get(client, bucket, Range="bytes=10-19")
    get(client, bucket, "other")
    assert proxy.body_bytes == {f"/{bucket}/k.u8": len(DATA) + 10, f"/{bucket}/other": 3}


@pytest.mark.s3
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.ERROR_500, 500, "InternalError"),
        (Fault.ERROR_502, 502, "BadGateway"),
        (Fault.ERROR_503, 503, "SlowDown"),
    ],
)
def test_an_error_is_answered_and_the_connection_lives_on(
    proxy: FaultProxy, bucket: str, fault: Fault, status: int, code: str
) -> None:
    client = client_of(proxy)
    proxy.fault(fault, times=3, methods=("PUT", "GET", "HEAD"))
    with pytest.raises(ClientError, match=code):
        client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    with pytest.raises(ClientError, match=code) as raised:
        get(client, bucket)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    with pytest.raises(ClientError, match=str(status)):
        client.head_object(Bucket=bucket, Key="k.u8")
    assert error_of(client, bucket) == "NoSuchKey"  # the server never heard of it
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    assert get(client, bucket) == DATA
    assert proxy.injected == {fault: 3}


@pytest.mark.s3
def test_a_lost_answer_is_to_a_request_that_the_server_obeyed(
    proxy: FaultProxy, bucket: str
) -> None:
    client = client_of(proxy)
    proxy.fault(Fault.LOST_ANSWER, times=1, methods=("PUT",))
    with pytest.raises(ConnectionClosedError):
        client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    assert get(client, bucket) == DATA


@pytest.mark.s3
@pytest.mark.parametrize(
    ("fault", "text"), [(Fault.RESET, "reset by peer"), (Fault.TRUNCATE, "IncompleteRead")]
)
@pytest.mark.parametrize(
    ("at_byte", "whole_bytes"), [(None, HALF), (0, 0), (1000, 1000), (10**9, len(DATA) - 1)]
)
def test_a_body_breaks_off(
    proxy: FaultProxy,
    bucket: str,
    fault: Fault,
    text: str,
    at_byte: int | None,
    whole_bytes: int,
) -> None:
    client = client_of(proxy)
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    proxy.fault(fault, times=1, at_byte=at_byte)
    body = client.get_object(Bucket=bucket, Key="k.u8")["Body"]
    assert body.read(whole_bytes) == DATA[:whole_bytes]
    with pytest.raises(ResponseStreamingError, match=text):
        body.read()
    assert proxy.body_bytes[f"/{bucket}/k.u8"] == whole_bytes
    assert get(client, bucket) == DATA


@pytest.mark.s3
def test_a_fault_inside_a_body_waits_for_a_body(proxy: FaultProxy, bucket: str) -> None:
    client = client_of(proxy)
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    proxy.fault(Fault.TRUNCATE, times=1, methods=("GET", "HEAD"))
    assert error_of(client, bucket, "missing") == "NoSuchKey"
    assert get(client, bucket, "empty") == b""
    client.head_object(Bucket=bucket, Key="k.u8")
    assert not proxy.injected
    with pytest.raises(ResponseStreamingError):
        get(client, bucket)


@pytest.mark.s3
def test_a_flip_changes_one_bit(proxy: FaultProxy, bucket: str) -> None:
    careless = client_of(proxy, response_checksum_validation="when_required")
    careless.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    proxy.fault(Fault.FLIP, times=2, at_byte=300_000)
    found = get(careless, bucket)
    assert len(found) == len(DATA)
    assert [(at, byte ^ DATA[at]) for at, byte in enumerate(found) if byte != DATA[at]] == [
        (300_000, 1)
    ]
    with pytest.raises(
        FlexibleChecksumError
    ):  # the server's checksum is still there for a client that looks
        get(client_of(proxy), bucket)


@pytest.mark.s3
def test_a_stall_is_silence_and_then_the_rest(proxy: FaultProxy, bucket: str) -> None:
    client = client_of(proxy)
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    proxy.fault(Fault.STALL, times=1, stall_seconds=1.0)
    body = client.get_object(Bucket=bucket, Key="k.u8")["Body"]
    assert body.read(HALF) == DATA[:HALF]
    started = time.monotonic()
    assert body.read() == DATA[HALF:]
    assert 0.5 < time.monotonic() - started < 5


@pytest.mark.s3
@pytest.mark.parametrize("fault", [Fault.HOLD, Fault.STALL])
def test_what_waits_can_be_released(proxy: FaultProxy, bucket: str, fault: Fault) -> None:
    client = client_of(proxy)
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    proxy.fault(fault, times=1, stall_seconds=60)
    with ThreadPoolExecutor(1) as pool:
        body = pool.submit(get, client, bucket)
        wait_for("the fault", lambda: proxy.injected[fault])
        proxy.release()
        assert body.result(timeout=20) == DATA


@pytest.mark.s3
@pytest.mark.parametrize("num_connections", [1, 4])
def test_the_limit_holds_over_all_connections(
    proxy: FaultProxy, bucket: str, num_connections: int
) -> None:
    client = client_of(proxy)
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
    proxy.limit_bytes_per_second = 8 * len(DATA)
    started = time.monotonic()
    with ThreadPoolExecutor(num_connections) as pool:
        bodies = list(pool.map(lambda _: get(client, bucket), range(4)))
    seconds = time.monotonic() - started
    assert bodies == [DATA] * 4
    assert 0.475 < seconds < 0.9  # 0.5 at the limit
    started = time.monotonic()
    client.put_object(Bucket=bucket, Key="k.u8", Body=DATA * 2)
    assert time.monotonic() - started > 0.23  # uploads too


@pytest.mark.s3
def test_closing_ends_every_connection_and_thread(s3_env: S3Server, bucket: str) -> None:
    before = set(threading.enumerate())
    with fault_proxy(s3_env.endpoint_url) as proxy:
        client = client_of(proxy)
        client.put_object(Bucket=bucket, Key="k.u8", Body=DATA)
        client.put_object(Bucket=bucket, Key="large", Body=LARGE)
        proxy.fault(Fault.STALL, times=1, match=".u8", stall_seconds=60)
        stalled = client.get_object(Bucket=bucket, Key="k.u8")["Body"]
        stalled.read(HALF)
        unread = client.get_object(Bucket=bucket, Key="large")[
            "Body"
        ]  # the proxy waits for its reader
        client.head_object(Bucket=bucket, Key="k.u8")  # and leaves a connection idle
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert set(threading.enumerate()) <= before
    for body in (stalled, unread):
        with pytest.raises(ResponseStreamingError):
            body.read()


def test_bytes_pass_as_they_are() -> None:
    request = (
        b"PUT /b/k?x=%20 HTTP/1.1\r\nhost:  any:1 \r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4;a=b\r\n\r\n\r\n\r\n0\r\nx-sum: 1\r\n\r\n"
    )
    answer = (
        b"HTTP/1.1 200 Fine\r\nX-One: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        b"A\r\n0123456789\r\n0\r\n\r\n"
    )
    with raw_ends() as (_, client, server):
        for _ in range(2):
            client.send(request)
            assert server.file.read(len(request)) == request
            server.send(answer)
            assert client.file.read(len(answer)) == answer


def test_an_error_is_framed_as_http_asks() -> None:
    request, answer = b"GET /b/k HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 Fine\r\n\r\n"
    with raw_ends() as (proxy, client, server):
        proxy.fault(Fault.ERROR_503, methods=("HEAD", "PUT"))
        client.send(b"PUT /b/k HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert client.file.readline() + client.file.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        head = b"".join(iter(client.file.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 503 SlowDown\r\n")
        assert b"<Code>SlowDown</Code>" in client.file.read(
            int(head.split(b"Content-Length: ")[1].split()[0])
        )
        client.send(b"HEAD /b/k HTTP/1.1\r\n\r\n")
        assert b"".join(iter(client.file.readline, b"\r\n")) == head
        client.send(request)
        assert server.file.read(len(request)) == request
        server.send(answer)
        assert client.file.read(len(answer)) == answer


class End(NamedTuple):
    """One end of a connection."""

    send: Callable[[bytes], None]
    file: BufferedReader


@contextmanager
def raw_ends() -> Iterator[tuple[FaultProxy, End, End]]:
    """A proxy, and the client's and the server's end of a connection through it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        fault_proxy(f"http://127.0.0.1:{listening.getsockname()[1]}") as proxy,
    ):
        listening.settimeout(5)
        with socket.create_connection(
            ("127.0.0.1", urlsplit(proxy.endpoint_url).port or 0), timeout=5
        ) as client:
            server, _ = listening.accept()
            server.settimeout(5)
            with server, client.makefile("rb") as answers, server.makefile("rb") as requests:
                yield proxy, End(client.sendall, answers), End(server.sendall, requests)


# Which requests are hit does not depend on the server: an answer from a script will do.


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-servers-that-do-not-check")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with scripted_s3([Answer(200)]) as server, fault_proxy(server.endpoint_url) as running:
        yield running


def test_times_is_exact_among_concurrent_requests(scripted: FaultProxy) -> None:
    client = client_of(scripted)
    scripted.fault(Fault.ERROR_500, times=10)
    scripted.fault(Fault.ERROR_503, times=5)
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda _: error_of(client, "bucket"), range(80)))
    assert codes == {"InternalError": 10, "SlowDown": 5, None: 65}
    assert scripted.injected == {Fault.ERROR_500: 10, Fault.ERROR_503: 5}
    assert scripted.requests == {("GET", "/bucket/k.u8"): 80}


def test_only_what_matches_is_hit(scripted: FaultProxy) -> None:
    client = client_of(scripted)
    scripted.fault(Fault.ERROR_500, match=".u8")
    client.head_object(Bucket="bucket", Key="k.u8")
    client.put_object(Bucket="bucket", Key="k.u8", Body=b"")
    assert error_of(client, "bucket", "index.json") is None
    assert error_of(client, "bucket", "k.u8") == "InternalError"
    scripted.clear()
    assert error_of(client, "bucket", "k.u8") is None


def test_throttling_ends_after_its_seconds(scripted: FaultProxy) -> None:
    client = client_of(scripted)
    started = time.monotonic()
    scripted.fault(Fault.ERROR_503, seconds=0.3)
    assert error_of(client, "bucket") == "SlowDown"
    while error_of(client, "bucket") and time.monotonic() - started < 10:
        pass
    assert 0.3 <= time.monotonic() - started < 5


def test_the_seed_alone_decides_which_share_is_hit(scripted: FaultProxy) -> None:
    client = client_of(scripted)
    keys = [f"{number}.u8" for number in range(100)]

    def hit(bucket: str, seed: int, order: list[str]) -> set[str]:
        scripted.clear()
        scripted.fault(Fault.ERROR_500, share=0.3, seed=seed)
        return {key for key in order if error_of(client, bucket, key)}

    first = hit("one", 1, keys)
    assert 15 <= len(first) <= 45
    assert hit("two", 1, keys[::-1]) == first
    assert hit("one", 2, keys) != first
