"""Every overlay, and the base with each component, is built once a session."""

import pytest

from tests.charts.helm import Helm, Object
from tests.manifests.kustomize import COMPONENTS, K8S, OVERLAYS, Kustomize
from tests.servers.tools import require_tool


@pytest.fixture(scope="session")
def chart() -> Helm:
    return Helm(require_tool("helm"))


@pytest.fixture(scope="session")
def kustomize(tmp_path_factory: pytest.TempPathFactory) -> Kustomize:
    return Kustomize(require_tool("kustomize"), tmp_path_factory.mktemp("overlays"))


@pytest.fixture(scope="session")
def built(kustomize: Kustomize) -> dict[str, list[Object]]:
    """The objects by "base", the name of an overlay, or "base+" and that of a component."""
    return (
        {"base": kustomize.build(K8S / "base")}
        | {name: kustomize.build(K8S / "overlays" / name) for name in OVERLAYS}
        | {f"base+{name}": kustomize.with_components(name) for name in COMPONENTS}
    )
