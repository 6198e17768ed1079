"""Clients: endpoint, region and credentials, shared by threads and not by forks."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from job.storage.s3_client import client_for
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import Answer, scripted_s3
from tests.storage.conftest import RotatedKeys

pytestmark = pytest.mark.usefixtures("any_credentials")


def test_refused_keys_are_read_again(rotated_keys: RotatedKeys) -> None:
    with scripted_s3(rotated_keys.answer(Answer(200, b""))) as server:
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=server.endpoint_url))
        with pytest.raises(StorageError, match="does not accept the credentials"):
            store.write("k", b"data")
        rotated_keys.rotate()
        store.write("k", b"data")


@pytest.mark.parametrize("by", ["storage.endpoint_url", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_custom_endpoint_takes_the_bucket_in_the_path(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_s3([Answer(200, b"data")]) as server:
        # boto3 itself takes the path for a bare address
        url = server.endpoint_url.replace("127.0.0.1", "localhost")
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
    """With a new client: two processes on one connection would mix up their answers."""
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
