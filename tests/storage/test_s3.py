"""S3 only: truncated bodies, lost answers, tags of servers, uploads in parts."""

from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import Answer, Request, s3_error, scripted_s3

pytestmark = pytest.mark.usefixtures("any_credentials")

DATA = bytes(range(256)) * 400


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
            match=(
                r"s3://bucket/k: cannot read: the answer was cut short or damaged .*check the"
                r" network"
            ),
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


@pytest.mark.parametrize("ours", [True, False])
def test_a_conditional_write_recognizes_its_object_after_a_lost_answer(ours: bool) -> None:
    """The server stores the object, the answer is lost, and boto3's second request is refused."""
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "tag"), [('"abc"', "abc"), ('W/"abc"', 'W/"abc"'), ("abc", "abc")]
)
def test_a_tag_is_sent_back_unchanged(sent: str, tag: str) -> None:
    """Weak ones come from proxies that compress, and from some servers."""
    entry = (
        f"<Contents><Key>k</Key><Size>1</Size><ETag>{sent}</ETag>"
        "<LastModified>2025-01-01T00:00:00Z</LastModified></Contents>"
    )
    body = (
        "<ListBucketResult"
        f' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>false</IsTruncated>{entry}</ListBucketResult>"
    )
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


def test_folder_markers_of_consoles_are_not_listed() -> None:
    entry = (
        '<Contents><Key>{}</Key><Size>0</Size><ETag>"1"</ETag>'
        "<LastModified>2025-01-01T00:00:00Z</LastModified></Contents>"
    )
    names = "".join(entry.format(key) for key in ("runs/", "runs/a/", "runs/a/k"))
    body = (
        "<ListBucketResult"
        f' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>false</IsTruncated>{names}</ListBucketResult>"
    )
    with scripted_s3([Answer(200, body.encode())]) as server:
        store = S3Store(
            "s3://bucket/runs", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        assert [info.key for info in store.list()] == ["a/k"]


@pytest.mark.s3
def test_a_large_file_goes_in_parts(s3_env: S3Server, tmp_path: Path) -> None:
    store = S3Store(f"s3://{s3_env.new_bucket()}", StorageSpec())
    (tmp_path / "source").write_bytes(bytes(40 * 1024 * 1024))
    store.upload(tmp_path / "source", "k")
    info = store.stat("k")
    assert info is not None
    assert info.etag.endswith("-3")  # S3's tag ends with the number of parts


def test_a_failed_multipart_upload_removes_its_parts(tmp_path: Path) -> None:
    """Parts that stay are stored, invisible and paid for."""

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            return Answer(
                200,
                b"<InitiateMultipartUploadResult><UploadId>upload-1</UploadId>"
                b"</InitiateMultipartUploadResult>",
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
