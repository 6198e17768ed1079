"""Helm 3 renders, checks and rejects as Helm 4, with which all other tests run."""

import pytest

from tests.charts.helm import CHART, CI, Helm, Object, Refused
from tests.servers.tools import require_tool

pytestmark = [pytest.mark.helm, pytest.mark.live]


@pytest.fixture(scope="module")
def helm3() -> Helm:
    found = Helm(require_tool("helm3"))
    assert found.run("version", "--short").startswith("v3.")
    return found


@pytest.mark.parametrize("name", CI)
def test_it_renders_the_same_objects(
    helm3: Helm, rendered: dict[str, list[Object]], name: str
) -> None:
    assert in_order(helm3.render(values=name)) == in_order(rendered[name])


def in_order(objects: list[Object]) -> list[Object]:
    return sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))


def test_it_finds_nothing_to_complain_about(helm3: Helm) -> None:
    text = helm3.run("lint", str(CHART), "--strict", "--values", str(CI["default"]))
    assert "1 chart(s) linted, 0 chart(s) failed" in text


@pytest.mark.parametrize("setting", ["workers.cuont=2", "workers.gpus=1.5", "run.uri="])
def test_it_rejects_the_same_values(helm3: Helm, chart: Helm, setting: str) -> None:
    name = setting.partition("=")[0].rpartition(".")[2]
    for program in (helm3, chart):
        with pytest.raises(Refused, match=name):
            program.render("--set", setting)
