"""Workers reach each other without the proxy of the environment, and S3 through it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from job.training.strategy import reach_workers_directly
from tests.servers.forward_proxy import ForwardProxy, forward_proxy
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.training


@pytest.fixture
def peer() -> Iterator[str]:
    """The address of a gRPC server, which TensorFlow starts in each worker."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def bucket(s3_env: S3Server) -> str:
    return s3_env.new_bucket("proxied")


@pytest.fixture
def proxy(s3_env: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardProxy]:
    """A proxy that the environment names, and the only one that knows the host of the store."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "grpc_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with forward_proxy(s3_env.endpoint_url) as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.invalid:9000")
        yield proxy


def connect(address: str) -> None:
    """Open a gRPC connection; ``grpc.FutureTimeoutError`` if it is not ready in time."""
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=5)


@pytest.mark.s3
def test_workers_pass_by_the_proxy_and_s3_does_not(
    bucket: str, peer: str, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_grpc_proxy", "example.com")
    with pytest.raises(grpc.FutureTimeoutError):
        connect(peer)
    assert f"CONNECT {peer}" in proxy.requests
    proxy.requests.clear()
    cluster = {"worker": [peer, "10.0.0.9:1234"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster}))
    reach_workers_directly()
    connect(peer)  # which the proxy never lets pass
    store = S3Store(f"s3://{bucket}/run", StorageSpec())
    store.write("key", b"0123456789")
    assert store.read_range("key", 2, 3) == b"234"
    received: list[bytes] = []
    store.stream("key", 4, 6, received.append)
    assert b"".join(received) == b"456789"
    url = f"http://store.invalid:9000/{bucket}/run/key"
    # The first attempt may still retry.
    others = [request for request in proxy.requests if request != f"CONNECT {peer}"]
    assert others == [f"PUT {url}", f"GET {url}", f"GET {url}"]
