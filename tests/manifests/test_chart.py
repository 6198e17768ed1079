"""Overlays and components build the chart's objects, except for the differences listed here."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.charts.helm import CHART, NAMESPACE, REQUIRED, Helm, Object
from tests.manifests.fields import differences
from tests.manifests.kustomize import COMPONENTS, OVERLAYS

pytestmark = pytest.mark.helm

TRY_VALUES = ("--values", str(Path(__file__).with_name("try-values.yaml")))
# The values of the chart for each folder of k8s/.
PAIRS = {
    "base": REQUIRED,
    "cpu": REQUIRED,
    "gpu": (*REQUIRED, "--set", "profile=gpu"),
    "try": TRY_VALUES,
    "base+credentials": (*REQUIRED, "--set", "credentials.existingSecret=s3-keys"),
    "base+monitoring": (
        *REQUIRED,
        *(
            "--set",
            "monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true",
        ),
    ),
}


class Allowed(NamedTuple):
    """``path`` is a regular expression; ``of`` those of ``PAIRS`` that have such a difference."""

    path: str
    of: set[str]
    reason: str


WITHOUT_URIS = set(PAIRS) - {"try"}
ALLOWED = [
    Allowed(r".*\.metadata\.labels\.helm\.sh/chart", set(PAIRS), "Helm's own label"),
    Allowed(
        r".*\.metadata\.labels\.app\.kubernetes\.io/managed-by",
        set(PAIRS),
        "each tool says that it was it",
    ),
    Allowed(
        r"Pod/dcgan-train-preflight\..*",
        set(PAIRS),
        "a hook of `helm test`; kustomize has no hooks",
    ),
    Allowed(
        r"ConfigMap/dcgan-train-config\.data\.run\.yaml\.(data\.)?uri",
        WITHOUT_URIS,
        "a user's own; the chart demands them as values",
    ),
    Allowed(r".*\.metadata\.namespace", {"base"}, "an overlay says which"),
    Allowed(
        r"NetworkPolicy/dcgan-train\.spec\.egress\.2\.ports\.1\..*",
        {"try"},
        "a policy of local-s3 opens the port to its server alone",
    ),
    Allowed(
        r"(Namespace|Secret|Service|Deployment|Job|ConfigMap|NetworkPolicy)/"
        r"(dcgan-train-try|s3-keys|s3|pack-images|make-bucket|local-s3|dcgan-train-to-local-s3)\..*",
        {"try"},
        "what local-s3 adds to the run; the chart brings no store",
    ),
]


Pairs = dict[str, tuple[list[Object], list[Object]]]


def rendered(chart: Helm, *values: str, namespace: str = NAMESPACE) -> list[Object]:
    text = chart.run("template", "dcgan-train", str(CHART), "--namespace", namespace, *values)
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="module")
def pairs(chart: Helm, built: dict[str, list[Object]]) -> Pairs:
    """(rendered by Helm, built by kustomize) by name."""
    namespaces = {"try": "dcgan-train-try"}
    return {
        name: (rendered(chart, *values, namespace=namespaces.get(name, NAMESPACE)), built[name])
        for name, values in PAIRS.items()
    }


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_as_the_chart(pairs: Pairs, name: str) -> None:
    excused = [allowed for allowed in ALLOWED if name in allowed.of]
    found = differences(*pairs[name])
    assert (
        "\n".join(
            str(each)
            for each in found
            if not any(re.fullmatch(allowed.path, each.path) for allowed in excused)
        )
        == ""
    )
    unused = [
        allowed
        for allowed in excused
        if not any(re.fullmatch(allowed.path, each.path) for each in found)
    ]
    assert unused == [], "no such difference any more"


def test_everything_is_compared() -> None:
    """local-s3 is, as part of `try`."""
    assert set(PAIRS) | {"base+local-s3"} == {
        "base",
        *OVERLAYS,
        *(f"base+{name}" for name in COMPONENTS),
    }


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("job.backoffLimit=2", "RayJob/dcgan-train.spec.backoffLimit"),
        (
            "cache.sizeGiB=10",
            "RayJob/dcgan-train.spec.rayClusterSpec.workerGroupSpecs.0.template.spec.volumes.4.emptyDir.sizeLimit",
        ),
        ("cache.sizeGiB=10", "ConfigMap/dcgan-train-config.data.run.yaml.data.cache_bytes"),
        (
            "preflight.initContainer=true",
            "RayJob/dcgan-train.spec.rayClusterSpec.headGroupSpec.template.spec.initContainers.0.name",
        ),
        (
            "podDisruptionBudget.head=false",
            "PodDisruptionBudget/dcgan-train-head.spec.minAvailable",
        ),
    ],
)
def test_a_difference_is_seen(
    chart: Helm, built: dict[str, list[Object]], change: str, path: str
) -> None:
    """Other values deep in an object, in a file, only on one side, and a whole object."""
    found = differences(rendered(chart, *REQUIRED, "--set", change), built["base"])
    assert path in {each.path for each in found}


def test_a_reference_to_another_name_is_seen(built: dict[str, list[Object]]) -> None:
    """Hashes are looked away from only where the name is that of an object."""
    objects = built["base"]
    config = next(each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap")
    wrong = json.loads(
        json.dumps(objects).replace(
            f'{{"name": "{config}"}}', '{"name": "dcgan-train-config-0000000000"}'
        )
    )
    assert len(differences(objects, wrong)) == 2
