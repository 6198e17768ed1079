"""The chart as a dependency of another chart."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.charts.helm import CHART, Helm, Object, Refused, container, of_kind, only, templates

pytestmark = pytest.mark.helm

URIS = {"uri": "s3://bucket/runs/one", "data": {"uri": "s3://bucket/packed/one"}}


def parent(helm: Helm, folder: Path, names: tuple[str, ...], values: Object) -> Helm:
    """Make a chart that depends on this one once per name, with a condition and an alias."""
    version = yaml.safe_load(CHART.joinpath("Chart.yaml").read_text())["version"]
    dependencies = [
        {"name": "dcgan-train", "version": version, "condition": f"{name}.enabled"}
        | ({"alias": name} if name != "dcgan-train" else {})
        for name in names
    ]
    chart = {
        "apiVersion": "v2",
        "name": "platform",
        "version": "1.0.0",
        "dependencies": dependencies,
    }
    folder.joinpath("Chart.yaml").write_text(yaml.safe_dump(chart))
    folder.joinpath("values.yaml").write_text(yaml.safe_dump(values))
    shutil.copytree(CHART, folder / "charts" / "dcgan-train")
    return Helm(helm.program, folder)


def test_a_condition_of_the_parent(chart: Helm, tmp_path: Path) -> None:
    helm = parent(
        chart, tmp_path, ("dcgan-train",), {"dcgan-train": {"enabled": True, "run": URIS}}
    )
    job = only(helm.render("--set", "tags.training=true,global.registry=x"), "RayJob")
    assert job["metadata"]["name"].startswith("faces-dcgan-train-")
    try:
        none = helm.render("--set", "dcgan-train.enabled=false")
    except Refused as refused:  # Helm's word for a chart without objects, where it has one
        pytest.fail(str(refused))
    assert none == []


def test_without_a_condition_it_cannot_be_switched_off(chart: Helm) -> None:
    with pytest.raises(
        Refused,
        match=r"enabled is false, but the chart is rendered;"
        r" expected `condition: dcgan-train\.enabled`",
    ):
        chart.render("--set", "enabled=false")


def test_openshift_of_a_parent_reaches_every_pod(chart: Helm, tmp_path: Path) -> None:
    """Helm drops a null of a parent's values, so that no id could be removed by one."""
    values = {"dcgan-train": {"openshift": True, "run": URIS, "preflight": {"initContainer": True}}}
    objects = parent(chart, tmp_path, ("dcgan-train",), values).render()
    pods = [*templates(only(objects, "RayJob")).values(), only(objects, "Pod")]
    contexts = [pod["spec"]["securityContext"] for pod in pods]
    assert contexts == [{"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}] * 4


def test_two_of_one_parent_are_apart(chart: Helm, tmp_path: Path) -> None:
    """Names, labels and selectors: a policy or budget of one does not select the other's pods."""
    values = {
        name: {"run": {**URIS, "uri": f"s3://bucket/runs/{name}"}} for name in ("faces", "shoes")
    }
    objects = parent(chart, tmp_path, ("faces", "shoes"), values).render(release="platform")
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    policies, jobs = of_kind(objects, "NetworkPolicy"), of_kind(objects, "RayJob")
    chosen = [
        [
            job["metadata"]["labels"]["app.kubernetes.io/name"]
            for job in jobs
            if policy["spec"]["podSelector"]["matchLabels"].items()
            <= templates(job)["worker"]["metadata"]["labels"].items()
        ]
        for policy in policies
    ]
    assert sorted(chosen) == [["faces"], ["shoes"]]
    assert {container(templates(job)["worker"])["image"] for job in jobs} == {"dcgan-train:0.1.0"}
