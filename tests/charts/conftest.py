"""Every values file of ``ci/`` is rendered once a session, all of them at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.charts.helm import CI, Helm, Object
from tests.servers.tools import require_tool


@pytest.fixture(scope="session")
def chart() -> Helm:
    return Helm(require_tool("helm"))


@pytest.fixture(scope="session")
def rendered(chart: Helm) -> dict[str, list[Object]]:
    """The objects by the name of their values file."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(CI, pool.map(lambda name: chart.render(values=name), CI), strict=True))
