"""Fixtures of the tests that need a cluster."""

import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container_image import build
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.kubernetes import kubernetes
from tests.e2e.release import Release
from tests.e2e.run import Run
from tests.e2e.store import Store, in_cluster_store
from tests.launch.program import pack_command
from tests.servers.tools import ROOT

BUILD = ROOT / "build"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "e2e: needs a Kubernetes cluster, so DCGAN_E2E=1 (`make e2e`)"
    )


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster for the whole run; each test has its ``namespace``.

    Its gigabytes are in the checkout's build folder: /tmp may be in memory, or of a kind on which
    containerd cannot put layers.
    """
    if os.environ.get("DCGAN_E2E") != "1":
        pytest.skip("takes minutes: set DCGAN_E2E=1, or run `make e2e`")
    BUILD.mkdir(exist_ok=True)
    with kubernetes(Path(tempfile.mkdtemp(prefix="e2e-", dir=BUILD))) as cluster:
        yield cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that takes only *restricted* pods; its deletion is not waited for."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> dict[str, str]:
    """The program's image as a value of the chart, on the node.

    A cluster of KUBECONFIG has it, under the name in DCGAN_IMAGE.
    """
    if cluster.is_own:
        name, archive = build.build()
        cluster.load_image(archive)
        name = name.removeprefix("docker.io/library/")
    else:
        name = os.environ.get("DCGAN_IMAGE", build.image_name("cpu").rpartition("/")[2])
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


@pytest.fixture(scope="session")
def store(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the whole run."""
    with in_cluster_store(cluster, tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(scope="session")
def store_env(store: Store) -> Iterator[dict[str, str]]:
    """This process's AWS variables are those of the store, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in store.server.env().items():
            patch.setenv(name, value)
        yield store.server.env()


@pytest.fixture(scope="session")
def images(store: Store, store_env: dict[str, str]) -> str:
    """6,000 packed images on the store: Fashion-MNIST if Debian's package is there, else drawn."""
    uri = f"s3://{store.server.new_bucket('images')}/packed"
    subprocess.run(
        ["dcgan-train", *pack_command(6000, uri)], check=True, capture_output=True, timeout=300
    )
    return uri


@pytest.fixture
def run(store: Store, store_env: dict[str, str], namespace: str) -> Run:
    """A run folder for one test, and its keys in the test's namespace."""
    store.keys(namespace, "s3-keys")
    return Run(f"s3://{store.server.new_bucket('runs')}/one", store)


@pytest.fixture
def release(cluster: Cluster, namespace: str) -> Callable[[str], Release]:
    """A release by its name, deleted with the namespace."""
    return lambda name: Release(cluster, namespace, name)
