"""Buckets whose policies demand headers (encryption, requester pays, ACLs): all have them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from job.storage.uri import open_store
from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.http_wire import Head
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.s3
KEY = "arn:aws:kms:eu-test-1:111122223333:key/0a1b"
ON_ALL = {"x-amz-request-payer": "requester"}
ON_NEW_OBJECTS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": KEY,
    "x-amz-acl": "bucket-owner-full-control",
}
DEMANDED = StorageSpec(
    server_side_encryption="aws:kms",
    kms_key_id=KEY,
    request_payer="requester",
    acl="bucket-owner-full-control",
)
LARGE = bytes(17 * 1024 * 1024)


def denied(request: Head) -> str | None:
    """Return the message with which S3 denies a request, if it does.

    It takes the encryption of an object where the object begins, and nowhere else.
    """
    method, _, query = request.word(0), *request.word(1).partition("?")[1:]
    is_new_object = (method == "PUT" and "partNumber=" not in query) or (
        method == "POST" and "uploads" in query.split("&")
    )
    for name, value in (ON_ALL | ON_NEW_OBJECTS if is_new_object else ON_ALL).items():
        if request.header(name) != value:
            return "Access Denied" if name in ON_ALL else explicit_deny(method)
    extra = [name for name in ON_NEW_OBJECTS if not is_new_object and request.header(name)]
    return f"{extra[0]} is not valid for this type of request" if extra else None


def explicit_deny(method: str) -> str:
    who = "User: arn:aws:iam::111122223333:user/dcgan is not authorized to perform: "
    return (
        f'{who}s3:{method.title()}Object on resource: "arn:aws:s3:::b/k" with an explicit deny in'
        " a resource-based policy"
    )


@pytest.fixture
def demanding(
    s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FaultProxy, str]]:
    """A server that demands all of them, and the URI of a bucket there."""
    uri = f"s3://{s3_env.new_bucket()}/runs"
    with fault_proxy(s3_env.endpoint_url) as proxy:
        proxy.denies = denied
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        yield proxy, uri


def test_every_request_has_what_the_bucket_demands(
    demanding: tuple[FaultProxy, str], tmp_path: Path
) -> None:
    proxy, uri = demanding
    store = open_store(uri, DEMANDED)
    store.write("small", b"data")
    store.write("large", LARGE)
    assert store.write_if("lease", b"1", None)
    assert store.write_if("lease", b"2", None) is None
    tag = store.stat("lease")
    assert tag is not None
    assert store.write_if("lease", b"3", tag.etag)
    (tmp_path / "small").write_bytes(b"a file")
    (tmp_path / "large").write_bytes(LARGE)
    store.upload(tmp_path / "small", "uploaded")
    store.upload(tmp_path / "large", "uploaded-large")
    assert store.read("lease") == b"3"
    assert store.read_range("uploaded", 2, 4) == b"file"
    pieces: list[bytes] = []
    store.stream("large", 5, len(LARGE), pieces.append)
    assert b"".join(pieces) == LARGE[5:]
    assert [info.key for info in store.list()] == [
        "large",
        "lease",
        "small",
        "uploaded",
        "uploaded-large",
    ]
    assert store.stat("missing") is None
    store.delete("small")
    assert store.stat("small") is None
    methods = {method for method, _ in proxy.requests}
    assert methods == {"PUT", "POST", "GET", "HEAD", "DELETE"}


def test_a_stream_asks_once_also_with_headers(demanding: tuple[FaultProxy, str]) -> None:
    proxy, uri = demanding
    store = open_store(uri, DEMANDED)
    store.write("k", b"data")
    store.stream("k", 0, 4, bytes)
    path = f"/{uri.removeprefix('s3://')}/k"
    # A second one would be boto3's, because the direct one was refused.
    assert proxy.requests["GET", path] == 1


@pytest.mark.parametrize("left_out", ["server_side_encryption", "acl"])
def test_an_explicit_deny_points_to_the_settings(
    demanding: tuple[FaultProxy, str], tmp_path: Path, left_out: str
) -> None:
    spec = DEMANDED.replace(kms_key_id=None, **{left_out: None})
    store = S3Store(demanding[1], spec)
    (tmp_path / "large").write_bytes(LARGE)
    expected = (
        r"cannot .*: a policy denies the request \(AccessDenied: .*explicit deny.*\); if it"
        r" demands headers, set storage\.server_side_enc"
    )
    for write in (
        lambda: store.write("k", b"data"),
        lambda: store.write("k", LARGE),
        lambda: store.write_if("k", b"data", None),
        lambda: store.upload(tmp_path / "large", "k"),
    ):
        with pytest.raises(StorageError, match=expected):
            write()


def test_a_bucket_that_lets_the_requester_pay_points_to_the_setting(
    demanding: tuple[FaultProxy, str],
) -> None:
    store = S3Store(demanding[1], DEMANDED.replace(request_payer=None))
    for read in (
        lambda: store.read("k"),
        lambda: store.stat("k"),
        lambda: list(store.list()),
        lambda: store.stream("k", 0, 4, bytes),
        lambda: store.delete("k"),
    ):
        with pytest.raises(
            StorageError,
            match=r"access denied .*does the bucket demand headers\? See storage\.request_payer",
        ):
            read()


def test_a_key_of_kms_that_refuses_is_named(
    s3_env: S3Server, demanding: tuple[FaultProxy, str]
) -> None:
    proxy, uri = demanding
    proxy.denies = lambda request: (
        "User: arn:aws:iam::111122223333:user/dcgan is not authorized to perform:"
        " kms:GenerateDataKey"
    )
    with pytest.raises(
        StorageError,
        match=(
            r"the KMS key cannot be used .*check storage.kms_key_id, and allow these credentials"
            r" kms:Generate"
        ),
    ):
        open_store(uri, DEMANDED).write("k", b"data")


@pytest.mark.parametrize("algorithm", [None, "AES256"])
def test_a_key_without_kms_is_refused(algorithm: str | None) -> None:
    with pytest.raises(
        ConfigError,
        match=(
            f"storage.server_side_encryption is {algorithm or 'unset'}; expected aws:kms or"
            " aws:kms:dsse"
        ),
    ):
        StorageSpec(server_side_encryption=algorithm, kms_key_id=KEY)
