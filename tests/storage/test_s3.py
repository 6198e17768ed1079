"""What only S3 can go through: bodies cut short, answers lost, how buckets are addressed, clients shared by threads and forks."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from job.storage.s3_client import client_for
from job.storage.store import Interrupted
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import Answer, Request, s3_error, scripted_s3, silent_server

DATA = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-servers-that-do-not-check")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


def test_a_body_cut_short_is_read_again() -> None:
    with scripted_s3(
        [Answer(200, DATA, sent_bytes=1000), Answer(200, DATA, sent_bytes=0), Answer(200, DATA)]
    ) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=3)
        )
        assert store.read("k") == DATA
        assert len(server.requests) == 3


def test_a_body_always_cut_short_is_an_error() -> None:
    with scripted_s3([Answer(200, DATA, sent_bytes=1000)]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=2)
        )
        with pytest.raises(
            StorageError,
            match=r"s3://bucket/k: cannot read: the answer was cut short or damaged .*check the network",
        ):
            store.read("k")
        assert len(server.requests) == 2


def test_a_body_unlike_its_checksum_is_an_error() -> None:
    with scripted_s3([Answer(200, DATA, {"x-amz-checksum-crc32": "AAAAAA=="})]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        with pytest.raises(StorageError, match=r"the answer was cut short or damaged .*checksum"):
            store.read("k")


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
def test_a_stream_asks_once_and_says_why_it_broke_off(
    answer: Answer, reason: str, received: int
) -> None:
    pieces: list[bytes] = []
    with scripted_s3([answer]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=8)
        )
        with pytest.raises(Interrupted, match="s3://bucket/k: cannot read") as caught:
            store.stream("k", 0, len(DATA), pieces.append)
        assert len(server.requests) == (
            2 if reason == "credentials" else 1
        )  # boto3 is asked what a refusal means
    assert caught.value.reason == reason
    assert len(b"".join(pieces)) == received


def test_a_stream_that_falls_silent_is_cut() -> None:
    with silent_server() as url:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=url, read_timeout_seconds=0.2))
        with pytest.raises(Interrupted) as caught:
            store.stream("k", 0, 10, bytes)
    assert caught.value.reason == "timeout"


def test_a_stream_from_nobody_may_work_later(free_port: int) -> None:
    store = S3Store("s3://bucket", StorageSpec(endpoint_url=f"http://127.0.0.1:{free_port}"))
    with pytest.raises(Interrupted, match="cannot reach") as caught:
        store.stream("k", 0, 10, bytes)
    assert caught.value.reason == "connection"


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket"), (400, "InvalidRequest")]
)
def test_what_repeating_cannot_cure_is_no_interruption(status: int, code: str) -> None:
    with scripted_s3([s3_error(status, code, "No.")]) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(StorageError) as caught:
            store.stream("k", 0, 10, bytes)
    assert not isinstance(caught.value, Interrupted)


def test_a_server_that_ignores_the_range_is_not_believed() -> None:
    with scripted_s3([Answer(200, DATA)]) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(
            StorageError, match="requested bytes from 5 on, the server sent the whole object"
        ):
            store.stream("k", 5, 10, bytes)


def test_what_only_boto3_can_get_is_got_by_boto3() -> None:
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


def test_one_answer_that_boto3_has_to_see_is_not_the_end_of_the_direct_way() -> None:
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
def test_a_body_in_chunks_ends_where_it_says(body: bytes, received: bytes) -> None:
    pieces: list[bytes] = []
    with scripted_s3([Answer(206, body, {"Transfer-Encoding": "chunked"})]) as server:
        S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url)).stream(
            "k", 0, 4, pieces.append
        )
    assert b"".join(pieces) == received


def test_a_body_in_chunks_that_is_cut_is_told() -> None:
    with scripted_s3(
        [Answer(206, b"4\r\nda", {"Transfer-Encoding": "chunked"}, sent_bytes=5)]
    ) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(Interrupted):
            store.stream("k", 0, 4, bytes)


def test_refused_keys_are_looked_for_anew_by_everything_else_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    keys = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    keys.write_text("[default]\naws_access_key_id = OLDKEY\naws_secret_access_key = old\n")

    def answer(request: Request) -> Answer:
        old = "Credential=OLDKEY/" in request.headers["Authorization"]
        return (
            s3_error(403, "InvalidAccessKeyId", "The key does not exist.")
            if old
            else Answer(200, b"")
        )

    with scripted_s3(answer) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(StorageError, match="does not accept the credentials"):
            store.write("k", b"data")
        keys.write_text("[default]\naws_access_key_id = NEWKEY\naws_secret_access_key = new\n")
        store.write("k", b"data")


def test_a_stream_carries_the_session_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    with scripted_s3([Answer(206, b"data")]) as server:
        S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url)).stream(
            "k", 0, 4, bytes
        )
        assert server.requests[0].headers["X-Amz-Security-Token"] == "a-session-token"
        assert server.requests[0].headers["Range"] == "bytes=0-3"
        assert "AWS4-HMAC-SHA256" in server.requests[0].headers["Authorization"]


def test_streams_use_one_connection_again() -> None:
    with scripted_s3([Answer(206, DATA)]) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        for _ in range(5):
            store.stream("k", 0, len(DATA), bytes)
        assert len(server.requests) == 5
        assert server.num_connections == 1


def test_refused_credentials_are_looked_for_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a file of keys is replaced during the run: the client that was made with the old ones is not asked again."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    keys = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    keys.write_text("[default]\naws_access_key_id = OLDKEY\naws_secret_access_key = old\n")

    def answer(request: Request) -> Answer:
        old = "Credential=OLDKEY/" in request.headers["Authorization"]
        return (
            s3_error(403, "InvalidAccessKeyId", "The key does not exist.")
            if old
            else Answer(206, b"data")
        )

    pieces: list[bytes] = []
    with scripted_s3(answer) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        for _ in range(2):
            with pytest.raises(Interrupted):
                store.stream("k", 0, 4, pieces.append)
        keys.write_text("[default]\naws_access_key_id = NEWKEY\naws_secret_access_key = new\n")
        store.stream("k", 0, 4, pieces.append)
    assert pieces == [b"data"]


@pytest.mark.parametrize("ours", [True, False])
def test_a_conditional_write_knows_its_own_work_when_the_answer_was_lost(ours: bool) -> None:
    """The server stores the object and the connection breaks; boto3 sends again and is refused, because the object now exists."""
    stored: dict[str, str] = {}

    def answer(request: Request) -> Answer:
        name = "x-amz-meta-dcgan-write-id"
        if request.method == "PUT" and not stored:
            stored[name] = request.headers[name] if ours else "of another"
            return Answer(None)
        if request.method == "PUT":
            return s3_error(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )
        return Answer(200, b"data", {"ETag": '"tag"', **stored})

    with scripted_s3(answer) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=3)
        )
        assert store.write_if("lease", b"data", None) == ("tag" if ours else None)
        assert [request.method for request in server.requests] == ["PUT", "PUT", "HEAD"]


def test_a_conditional_write_that_meets_another_loses() -> None:
    """S3 answers 409 where another write or a deletion is under way at the same moment."""

    def answer(request: Request) -> Answer:
        return (
            s3_error(409, "ConditionalRequestConflict", "Try again")
            if request.method == "PUT"
            else Answer(200, b"", {"ETag": '"tag"'})
        )

    with scripted_s3(answer) as server:
        assert (
            S3Store(
                "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
            ).write_if("k", b"", "old")
            is None
        )
        assert server.requests[0].headers["If-Match"] == '"old"'


@pytest.mark.parametrize(
    ("sent", "tag"), [('"abc"', "abc"), ('W/"abc"', 'W/"abc"'), ("abc", "abc")]
)
def test_a_tag_goes_back_to_the_server_as_it_came(sent: str, tag: str) -> None:
    """Weak ones come from proxies that compress, and from some servers."""
    entry = f"<Contents><Key>k</Key><Size>1</Size><ETag>{sent}</ETag><LastModified>2025-01-01T00:00:00Z</LastModified></Contents>"
    body = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>{entry}</ListBucketResult>'
    with scripted_s3(
        lambda request: Answer(
            200, body.encode() if request.method == "GET" else b"", {"ETag": sent}
        )
    ) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        info = store.stat("k")
        assert info is not None
        assert info.etag == tag
        assert [info.etag for info in store.list()] == [tag]
        assert store.write_if("k", b"data", info.etag) == tag
        assert server.requests[-1].headers["If-Match"] == (sent if '"' in sent else f'"{sent}"')


def test_folder_markers_of_consoles_are_no_objects() -> None:
    entry = '<Contents><Key>{}</Key><Size>0</Size><ETag>"1"</ETag><LastModified>2025-01-01T00:00:00Z</LastModified></Contents>'
    names = "".join(entry.format(key) for key in ("runs/", "runs/a/", "runs/a/k"))
    body = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>{names}</ListBucketResult>'
    with scripted_s3([Answer(200, body.encode())]) as server:
        store = S3Store(
            "s3://bucket/runs", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        assert [info.key for info in store.list()] == ["a/k"]


@pytest.mark.parametrize("by", ["storage.endpoint_url", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_custom_endpoint_takes_the_bucket_in_the_path(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_s3([Answer(200, b"data")]) as server:
        url = server.endpoint_url.replace(
            "127.0.0.1", "localhost"
        )  # boto3 itself takes the path for a bare address
        if by.startswith("AWS"):
            monkeypatch.setenv(by, url)
        S3Store(
            "s3://bucket/runs", StorageSpec(endpoint_url=None if by.startswith("AWS") else url)
        ).read("k")
        assert server.requests[0].path == "/bucket/runs/k"


@pytest.mark.parametrize(
    ("path_style", "endpoint", "url"),
    [
        (None, None, "https://bucket.s3.amazonaws.com/k"),
        (True, None, "https://s3.eu-west-1.amazonaws.com/bucket/k"),
        (None, "https://s3.example.com", "https://s3.example.com/bucket/k"),
        (False, "https://s3.example.com", "https://bucket.s3.example.com/k"),
    ],
)
def test_how_buckets_are_addressed(path_style: bool | None, endpoint: str | None, url: str) -> None:
    client = client_for(
        StorageSpec(endpoint_url=endpoint, region="eu-west-1", path_style=path_style)
    )
    assert (
        client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"}).split(
            "?"
        )[0]
        == url
    )


@pytest.mark.parametrize(
    ("checksums", "sent"), [("when_supported", True), ("when_required", False)]
)
def test_checksums_can_be_left_out(checksums: str, sent: bool) -> None:
    with scripted_s3([Answer(200)]) as server:
        S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, checksums=checksums)
        ).write("k", b"data")
        assert (
            any(name.lower().startswith("x-amz-checksum-") for name in server.requests[0].headers)
            == sent
        )


def test_a_region_is_taken_from_aws_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-1")
    assert client_for(StorageSpec()).meta.region_name == "eu-north-1"
    assert client_for(StorageSpec(region="eu-west-3")).meta.region_name == "eu-west-3"
    monkeypatch.delenv("AWS_REGION")
    assert client_for(StorageSpec()).meta.region_name == "eu-south-1"


def test_threads_share_one_client_and_new_credentials_get_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = StorageSpec(max_attempts=5)
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: client_for(spec), range(16)))
    assert len({id(client) for client in clients}) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert client_for(spec) is not clients[0]


@pytest.mark.s3
def test_a_forked_child_uses_the_store_of_its_parent(s3_env: S3Server) -> None:
    """With a client of its own: two processes on one connection would mix up their answers."""
    store = S3Store(f"s3://{s3_env.new_bucket()}", StorageSpec(max_attempts=1))
    store.write("k", b"data")
    parents_client = id(client_for(StorageSpec(max_attempts=1)))
    child = os.fork()
    if child == 0:
        good = (
            store.read("k") == b"data"
            and id(client_for(StorageSpec(max_attempts=1))) != parents_client
        )
        os._exit(0 if good else 1)
    for _ in range(50):
        assert store.read("k") == b"data"
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.s3
def test_a_large_file_goes_in_parts(s3_env: S3Server, tmp_path: Path) -> None:
    store = S3Store(f"s3://{s3_env.new_bucket()}", StorageSpec())
    (tmp_path / "source").write_bytes(bytes(40 * 1024 * 1024))
    store.upload(tmp_path / "source", "k")
    info = store.stat("k")
    assert info is not None
    assert info.etag.endswith("-3")  # S3's tag of an object tells the number of its parts


def test_a_failed_multipart_upload_takes_its_parts_away(tmp_path: Path) -> None:
    """Parts that stay are stored, invisible and paid for."""

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            return Answer(
                200,
                b"<InitiateMultipartUploadResult><UploadId>upload-1</UploadId></InitiateMultipartUploadResult>",
            )
        if "partNumber=2" in request.path:
            return s3_error(403, "AccessDenied", "Access Denied")
        return Answer(204 if request.method == "DELETE" else 200, b"", {"ETag": '"part"'})

    (tmp_path / "source").write_bytes(bytes(40 * 1024 * 1024))
    with scripted_s3(answer) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        with pytest.raises(
            StorageError,
            match=rf"s3://bucket/k: cannot upload {tmp_path}/source: access denied \(AccessDenied",
        ):
            store.upload(tmp_path / "source", "k")
    last = server.requests[-1]
    assert (last.method, last.path) == ("DELETE", "/bucket/k?uploadId=upload-1")
