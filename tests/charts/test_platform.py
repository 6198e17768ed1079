"""Values of platform teams: scheduling, containers, labels, namespaces, registries, queues."""

from typing import Any

import pytest
import yaml

from tests.charts.helm import (
    CHART,
    Helm,
    Object,
    Refused,
    container,
    env,
    of_kind,
    only,
    templates,
)
from tests.charts.test_manifests import judge

pytestmark = pytest.mark.helm

Rendered = dict[str, list[Object]]
MONITORING = {"PodMonitor", "PrometheusRule"}
# Keys that an earlier chart did not have: unset after `helm upgrade --reuse-values`.
ADDED = (
    "global",
    "commonLabels",
    "commonAnnotations",
    "schedulerName",
    "dnsConfig",
    "hostAliases",
    "extraEnvFrom",
    "extraInitContainers",
    "extraContainers",
    "extraObjects",
    "workers.resourceClaims",
    "head.runtimeClassName",
    "submitter.affinity",
    "submitter.priorityClassName",
    "submitter.labels",
    "submitter.annotations",
    "job.managedBy",
    "monitoring.podMonitor.scrapeTimeout",
    "monitoring.podMonitor.relabelings",
    "monitoring.podMonitor.metricRelabelings",
    "monitoring.podMonitor.namespace",
    "monitoring.podMonitor.annotations",
    "monitoring.prometheusRule.namespace",
    "monitoring.prometheusRule.annotations",
    "monitoring.dashboard.namespace",
)


def test_values_of_an_earlier_chart_render_the_same(chart: Helm) -> None:
    enabled = ",".join(
        f"monitoring.{name}.enabled=true" for name in ("podMonitor", "prometheusRule", "dashboard")
    )
    unset = ",".join(f"{key}=null" for key in ADDED)
    assert chart.render("--set", enabled, "--set", unset) == chart.render("--set", enabled)


def test_rendering_depends_on_values_only(chart: Helm) -> None:
    """Argo CD renders each time as for an installation, and would report what differs."""
    assert chart.render("--is-upgrade", values="platform") == chart.render(values="platform")


def test_the_only_hook_is_that_of_helm_test(rendered: Rendered) -> None:
    hooks = [
        (each["kind"], each["metadata"]["annotations"]["helm.sh/hook"])
        for each in rendered["platform"]
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    ]
    assert hooks == [("Pod", "test")]


def test_every_added_key_is_a_value() -> None:
    values = yaml.safe_load(CHART.joinpath("values.yaml").read_text())
    for key in ADDED:
        found: Any = values
        for part in key.split("."):
            assert part in found, key
            found = found[part]


def test_common_labels_and_annotations_are_on_objects_and_not_on_pods(rendered: Rendered) -> None:
    for each in rendered["platform"]:
        if each["metadata"]["name"] == "faces-site":  # of extraObjects, as written
            continue
        assert each["metadata"]["labels"]["cost-center"] == "4711", each["kind"]
        assert each["metadata"]["annotations"]["example.com/owner"] == "vision", each["kind"]
    for pod in templates(only(rendered["platform"], "RayJob")).values():
        assert "cost-center" not in pod["metadata"]["labels"]
        assert "example.com/owner" not in pod["metadata"].get("annotations", {})


def test_an_objects_own_labels_override_common_ones(chart: Helm) -> None:
    job = only(chart.render("--set", "commonLabels.team=a,job.labels.team=b"), "RayJob")
    assert job["metadata"]["labels"]["team"] == "b"


@pytest.mark.parametrize(
    ("repository", "image"),
    [
        ("dcgan-train", "mirror.example.com/dcgan-train:0.1.0"),
        ("ml/dcgan-train", "mirror.example.com/ml/dcgan-train:0.1.0"),
        ("registry.example.com/ml/dcgan-train", "mirror.example.com/ml/dcgan-train:0.1.0"),
        ("localhost:5000/dcgan-train", "mirror.example.com/dcgan-train:0.1.0"),
    ],
)
def test_a_global_registry_replaces_that_of_the_image(
    chart: Helm, repository: str, image: str
) -> None:
    settings = f"global.imageRegistry=mirror.example.com,image.repository={repository}"
    objects = chart.render("--set", settings)
    pods = [*templates(only(objects, "RayJob")).values(), only(objects, "Pod")]
    assert {container(pod)["image"] for pod in pods} == {image}
    assert "Missing, perhaps: the image" not in chart.notes("--set", settings)


def test_scheduler_dns_and_hosts_reach_every_pod(rendered: Rendered) -> None:
    objects = rendered["platform"]
    for pod in [*templates(only(objects, "RayJob")).values(), only(objects, "Pod")]:
        assert pod["spec"]["schedulerName"] == "volcano"
        assert pod["spec"]["dnsConfig"] == {"options": [{"name": "ndots", "value": "2"}]}
        assert pod["spec"]["hostAliases"] == [{"ip": "10.0.0.9", "hostnames": ["s3.example.com"]}]


def test_head_and_submitter_are_scheduled_as_set(rendered: Rendered) -> None:
    pods = templates(only(rendered["platform"], "RayJob"))
    assert pods["head"]["spec"]["runtimeClassName"] == "runc"
    submitter = pods["submitter"]
    assert submitter["spec"]["priorityClassName"] == "batch"
    assert "nodeAffinity" in submitter["spec"]["affinity"]
    assert submitter["metadata"]["labels"]["tier"] == "small"
    assert "cluster-autoscaler.kubernetes.io/safe-to-evict" in submitter["metadata"]["annotations"]
    assert "affinity" not in pods["head"]["spec"]


def test_extra_containers_are_in_head_and_workers_only(rendered: Rendered) -> None:
    """Beside a submitter, a container that never ends would keep its Job from ending."""
    pods = templates(only(rendered["platform"], "RayJob"))
    for component in ("head", "worker"):
        spec = pods[component]["spec"]
        names = [each["name"] for each in spec["containers"]]
        assert names == [f"ray-{component}", "log-shipper"]
        assert [each["name"] for each in spec["initContainers"]] == ["fetch-ca"]
        assert [next(iter(each)) for each in container(pods[component])["envFrom"]] == [
            "configMapRef",
            "secretRef",
        ]
    assert len(pods["submitter"]["spec"]["containers"]) == 1
    assert "envFrom" not in container(pods["submitter"])
    assert len(container(only(rendered["platform"], "Pod"))["envFrom"]) == 2


def test_extra_init_containers_run_before_preflight_and_kuberays(chart: Helm) -> None:
    """A certificate that they fetch is then there for the checks."""
    extra = "extraInitContainers[0].name=ca,extraInitContainers[0].image=ca:1"
    job = only(chart.render("--set", extra, "--set", "preflight.initContainer=true"), "RayJob")
    names = [each["name"] for each in templates(job)["head"]["spec"]["initContainers"]]
    assert names == ["ca", "preflight"]
    (verdict,) = judge([job])
    started = {
        pod["metadata"]["name"]: [each["name"] for each in pod["spec"].get("initContainers", [])]
        for pod in verdict["pods"]
    }
    assert started["worker"] == ["ca", "wait-gcs-ready"]


def test_resource_claims_replace_the_gpu_resource(rendered: Rendered) -> None:
    job = only(rendered["platform"], "RayJob")
    worker = templates(job)["worker"]
    assert worker["spec"]["resourceClaims"] == [
        {"name": "gpu", "resourceClaimTemplateName": "one-h100"}
    ]
    resources = container(worker)["resources"]
    assert resources["claims"] == [{"name": "gpu"}]
    assert set(resources["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["rayStartParams"]["num-gpus"] == "1"
    assert "resourceClaims" not in templates(job)["head"]["spec"]
    (toleration,) = worker["spec"]["tolerations"]  # one without a key would tolerate all taints
    assert toleration["key"] == "nvidia.com/gpu"


def test_claims_beside_a_gpu_resource_keep_it(chart: Helm) -> None:
    """For example for a network card."""
    claim = "workers.resourceClaims[0].name=nic,workers.resourceClaims[0].resourceClaimName=rdma"
    worker = templates(only(chart.render("--set", f"profile=gpu,{claim}"), "RayJob"))["worker"]
    resources = container(worker)["resources"]
    assert (resources["limits"]["nvidia.com/gpu"], resources["claims"]) == ("1", [{"name": "nic"}])


def test_monitoring_objects_are_where_prometheus_and_grafana_read_them(rendered: Rendered) -> None:
    objects = rendered["platform"]
    (board,) = (
        each
        for each in of_kind(objects, "ConfigMap")
        if "grafana_dashboard" in each["metadata"]["labels"]
    )
    moved = [*(only(objects, kind) for kind in sorted(MONITORING)), board]
    for each in moved:
        assert each["metadata"]["namespace"] == "monitoring"
        assert each["metadata"]["name"].startswith("training-faces")
    monitor, rule, _ = moved
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["training"]}
    for each in (monitor, rule):
        assert each["metadata"]["annotations"]["example.com/team"] == "vision"
    endpoints = monitor["spec"]["podMetricsEndpoints"]
    assert [each["port"] for each in endpoints] == ["metrics", "ray-metrics"]
    for endpoint in endpoints:
        assert endpoint["scrapeTimeout"] == "10s"
        assert endpoint["relabelings"] == [{"targetLabel": "cluster", "replacement": "one"}]
        assert endpoint["metricRelabelings"][0]["action"] == "drop"


def test_notes_say_what_multikueue_does_not_copy(chart: Helm) -> None:
    assert "Its pods run in a worker cluster" in chart.notes(values="platform")
    assert "worker cluster" not in chart.notes(values="kueue")


def test_multikueue_starts_another_rayjob_because_the_field_is_immutable(
    chart: Helm, rendered: Rendered
) -> None:
    assert only(rendered["platform"], "RayJob")["spec"]["managedBy"] == "kueue.x-k8s.io/multikueue"
    plain, managed = (
        only(chart.render("--set", f"job.managedBy={manager}"), "RayJob")
        for manager in ("", "ray.io/kuberay-operator")
    )
    assert "managedBy" not in plain["spec"]
    assert plain["metadata"]["name"] != managed["metadata"]["name"]


def test_kueue_takes_an_autoscaled_run_that_says_so(chart: Helm) -> None:
    settings = "job.queue=gpus,cleanup.policy=shutdown,workers.min=1"
    with pytest.raises(Refused, match=r"kueue\.x-k8s\.io/elastic-job"):
        chart.render("--set", settings)
    annotation = r"job.annotations.kueue\.x-k8s\.io/elastic-job=true"
    job = only(chart.render("--set", settings, "--set-string", annotation), "RayJob")
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert job["metadata"]["annotations"] == {"kueue.x-k8s.io/elastic-job": "true"}
    (verdict,) = judge([job])
    assert verdict["api"] + verdict["operator"] == []


def test_extra_objects_are_templates(rendered: Rendered) -> None:
    (site,) = (
        each
        for each in of_kind(rendered["platform"], "ConfigMap")
        if each["metadata"]["name"] == "faces-site"
    )
    assert site["metadata"]["namespace"] == "training"
    assert site["data"] == {"cluster": "one"}


def test_variables_of_the_chart_are_not_overridden_by_env_from(rendered: Rendered) -> None:
    """Kubernetes prefers `env` to `envFrom`: the names that the chart sets are in `env`."""
    head = templates(only(rendered["platform"], "RayJob"))["head"]
    assert {"RAY_JOB_STOP_WAIT_TIME_S", "RAY_USAGE_STATS_ENABLED"} <= set(env(head))
