"""Fixtures of the tests that need a cluster."""

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.kubernetes import kubernetes


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: needs a Kubernetes cluster, so DCGAN_E2E=1 (`make e2e`)")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for the whole run; each test takes a namespace of its own (``namespace``)."""
    if os.environ.get("DCGAN_E2E") != "1":
        pytest.skip("takes minutes: set DCGAN_E2E=1, or run `make e2e`")
    with kubernetes(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that takes only *restricted* pods, deleted with all in it; that takes seconds, for which nobody waits."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
