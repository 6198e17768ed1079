"""templates/rayjob.yaml: the RayJob and the pods that come of it."""

import json
import re
from typing import Any

import pytest

from tests.charts.helm import CI, Helm, Object, container, env, only, templates

pytestmark = pytest.mark.helm

Rendered = dict[str, list[Object]]


def spec(rendered: Rendered, name: str) -> Object:
    found: Object = only(rendered[name], "RayJob")["spec"]
    return found


def test_defaults(rendered: Rendered) -> None:
    job = spec(rendered, "default")
    assert job["entrypoint"] == "dcgan-train train --config /etc/dcgan-train/run.yaml"
    assert job["submissionMode"] == "K8sJobMode"
    assert (job["backoffLimit"], job["submitterConfig"]["backoffLimit"]) == (1, 3)
    assert job["preRunningDeadlineSeconds"] == 3600
    assert not {
        "suspend",
        "activeDeadlineSeconds",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
    } & set(job)
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert "enableInTreeAutoscaling" not in job["rayClusterSpec"]
    assert (
        container(templates(only(rendered["default"], "RayJob"))["worker"])["image"]
        == "dcgan-train:0.1.0"
    )


def test_head_trains_nothing_and_workers_are_as_many_as_wanted(rendered: Rendered) -> None:
    cluster = spec(rendered, "default")["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 2, 2)


def test_elastic(rendered: Rendered) -> None:
    cluster = spec(rendered, "elastic")["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 1, 4)
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["autoscalerOptions"]["securityContext"]["readOnlyRootFilesystem"] is True
    # KubeRay cannot delete the workers of an autoscaled cluster alone.
    policies = {
        rule["policy"] for rule in spec(rendered, "elastic")["deletionStrategy"]["deletionRules"]
    }
    assert policies == {"DeleteCluster"}


def test_elastic_without_autoscaler(rendered: Rendered) -> None:
    cluster = spec(rendered, "elastic-fixed-pods")["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert "enableInTreeAutoscaling" not in cluster
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 2, 2)


def test_only_the_autoscaler_gets_a_token_of_kubernetes(rendered: Rendered) -> None:
    for name, objects in rendered.items():
        mounted = {
            part: pod["spec"]["automountServiceAccountToken"]
            for part, pod in templates(only(objects, "RayJob")).items()
        }
        assert {part for part, is_mounted in mounted.items() if is_mounted} == (
            {"head"} if name == "elastic" else set()
        )


def test_gpu(rendered: Rendered) -> None:
    worker = templates(only(rendered["gpu"], "RayJob"))["worker"]
    resources = container(worker)["resources"]
    assert container(worker)["image"] == "dcgan-train:0.1.0-gpu"
    assert resources["limits"]["nvidia.com/gpu"] == "1"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in worker[
        "spec"
    ]["tolerations"]
    assert {"key": "spot", "operator": "Exists", "effect": "NoSchedule"} in worker["spec"][
        "tolerations"
    ]
    assert worker["spec"]["runtimeClassName"] == "nvidia"
    assert worker["spec"]["priorityClassName"] == "batch"
    assert worker["metadata"]["labels"]["team"] == "vision"
    (spread,) = worker["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    head = templates(only(rendered["gpu"], "RayJob"))["head"]
    assert "nvidia.com/gpu" not in container(head)["resources"]["limits"]
    assert head["spec"]["nodeSelector"] == {"pool": "on-demand"}


def test_scheduling_keeps_what_the_user_wrote(chart: Helm) -> None:
    """A toleration of 0 seconds evicts at once, one without seconds never."""
    toleration = {
        "key": "spot",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 0,
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"team": "vision"}},
    }
    settings = (
        f"workers.tolerations=[{json.dumps(toleration)}]",
        f"workers.topologySpreadConstraints=[{json.dumps(spread)}]",
    )
    worker = templates(
        only(chart.render("--set-json", settings[0], "--set-json", settings[1]), "RayJob")
    )["worker"]
    assert worker["spec"]["tolerations"] == [toleration]
    assert worker["spec"]["topologySpreadConstraints"] == [spread]


@pytest.mark.parametrize(
    "resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "nvidia.com/gpu.shared", "amd.com/gpu"]
)
def test_gpus_under_other_names(chart: Helm, resource: str) -> None:
    """Neither KubeRay nor Ray's autoscaler counts them; nodes may be tainted with either name."""
    settings = f"profile=gpu,workers.gpus=2,workers.gpuResource={resource}"
    job = only(chart.render("--set", settings), "RayJob")
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["rayStartParams"]["num-gpus"] == "2"
    assert container(workers["template"])["resources"]["limits"][resource] == "2"
    keys = [each["key"] for each in workers["template"]["spec"]["tolerations"]]
    assert sorted(keys) == sorted({"nvidia.com/gpu", resource})


@pytest.mark.parametrize("name", CI)
def test_ray_counts_the_gpus_of_the_run(rendered: Rendered, name: str) -> None:
    (workers,) = spec(rendered, name)["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["rayStartParams"]["num-gpus"] == ("1" if name in ("gpu", "platform") else "0")


@pytest.mark.parametrize("name", CI)
def test_requests_are_limits_and_disks_fit_into_them(rendered: Rendered, name: str) -> None:
    for pod in templates(only(rendered[name], "RayJob")).values():
        resources = container(pod)["resources"]
        assert resources["requests"] == resources["limits"]
        assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["limits"])
        on_disk = sum(
            int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi"))
            for volume in pod["spec"]["volumes"]
            if "emptyDir" in volume and volume["emptyDir"].get("medium") != "Memory"
        )
        assert on_disk <= int(resources["limits"]["ephemeral-storage"].removesuffix("Gi"))


@pytest.mark.parametrize("name", CI)
def test_shared_memory_is_a_volume(rendered: Rendered, name: str) -> None:
    for part in ("head", "worker"):
        pod = templates(only(rendered[name], "RayJob"))[part]
        (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "shm")
        assert volume["emptyDir"]["medium"] == "Memory"
        assert {"name": "shm", "mountPath": "/dev/shm"} in container(pod)["volumeMounts"]


def test_submission_modes(rendered: Rendered) -> None:
    for name in ("http-mode", "sidecar-mode"):
        assert not {"submitterConfig", "submitterPodTemplate"} & set(spec(rendered, name))
    submitter = templates(only(rendered["default"], "RayJob"))["submitter"]
    assert submitter["spec"]["restartPolicy"] == "Never"
    assert "command" not in container(submitter)  # KubeRay's own
    assert env(submitter) == {}  # it needs no store


def test_clean_up(rendered: Rendered) -> None:
    rules = spec(rendered, "default")["deletionStrategy"]["deletionRules"]
    shown = {
        (
            next(
                (name, value) for name, value in rule["condition"].items() if name != "ttlSeconds"
            ),
            rule["policy"],
        ): rule["condition"].get("ttlSeconds", 0)
        for rule in rules
    }
    assert shown == {
        (("jobStatus", "SUCCEEDED"), "DeleteWorkers"): 0,
        (("jobStatus", "SUCCEEDED"), "DeleteCluster"): 600,
        (("jobStatus", "FAILED"), "DeleteWorkers"): 0,
        (("jobStatus", "FAILED"), "DeleteCluster"): 3600,
        (("jobDeploymentStatus", "Failed"), "DeleteWorkers"): 0,
        (("jobDeploymentStatus", "Failed"), "DeleteCluster"): 3600,
    }
    kueue = spec(rendered, "kueue")
    assert (kueue["shutdownAfterJobFinishes"], kueue["ttlSecondsAfterFinished"]) == (True, 600)
    assert not {"deletionStrategy", "shutdownAfterJobFinishes"} & set(spec(rendered, "open"))


def test_kueue_and_suspension(rendered: Rendered) -> None:
    labels = only(rendered["kueue"], "RayJob")["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "gpus"
    assert labels["kueue.x-k8s.io/priority-class"] == "nightly"
    assert "suspend" not in spec(
        rendered, "kueue"
    )  # Kueue's to set, and an upgrade's not to take back
    assert spec(rendered, "suspended")["suspend"] is True


def test_limits(rendered: Rendered) -> None:
    job = spec(rendered, "limits")
    assert (job["backoffLimit"], job["submitterConfig"]["backoffLimit"]) == (4, 6)
    assert (job["activeDeadlineSeconds"], job["preRunningDeadlineSeconds"]) == (86400, 1200)
    assert job["metadata"] == {"owner": "vision"}
    for part in ("head", "worker"):
        assert (
            templates(only(rendered["limits"], "RayJob"))[part]["spec"][
                "terminationGracePeriodSeconds"
            ]
            == 180
        )


@pytest.mark.parametrize(
    ("name", "stop", "drain", "grace"), [("default", 35, 60, 80), ("limits", 100, 110, 180)]
)
def test_time_to_stop(rendered: Rendered, name: str, stop: int, drain: int, grace: int) -> None:
    """The head's hook stops the run, Ray announces a worker's loss: both in the grace period."""
    pods = templates(only(rendered[name], "RayJob"))
    head, worker = pods["head"], pods["worker"]
    assert container(head)["lifecycle"]["preStop"]["exec"]["command"] == [
        "python",
        "/etc/dcgan-train/stop.py",
        str(stop),
    ]
    assert env(head)["RAY_JOB_STOP_WAIT_TIME_S"] == str(stop)
    assert env(head)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "0"
    assert env(worker)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == str(drain)
    assert {pod["spec"]["terminationGracePeriodSeconds"] for pod in (head, worker)} == {grace}


def test_no_checkpoint_at_an_eviction(chart: Helm) -> None:
    pods = templates(only(chart.render("--set", "termination.drainSeconds=0"), "RayJob"))
    assert env(pods["worker"])["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "0"
    assert pods["worker"]["spec"]["terminationGracePeriodSeconds"] == 55


def test_authentication(rendered: Rendered) -> None:
    assert spec(rendered, "open")["rayClusterSpec"]["authOptions"] == {"mode": "disabled"}
    for part in ("head", "worker"):
        assert env(templates(only(rendered["open"], "RayJob"))[part])["RAY_AUTH_MODE"] == "disabled"
    assert spec(rendered, "long-name")["rayClusterSpec"]["authOptions"] == {
        "mode": "token",
        "secretName": "ray-token",
    }


def test_credentials_come_from_a_secret(rendered: Rendered) -> None:
    """As files, which follow the Secret; as variables only what does not change with the keys."""
    job = only(rendered["s3-in-cluster"], "RayJob")
    for part in ("head", "worker"):
        pod = templates(job)[part]
        sources = {
            e["name"]: e["valueFrom"]["secretKeyRef"]
            for e in container(pod)["env"]
            if "valueFrom" in e
        }
        assert sources == {"AWS_REGION": {"name": "s3-keys", "key": "AWS_REGION", "optional": True}}
        assert env(pod)["AWS_CONFIG_FILE"] == "/etc/dcgan-train/aws-config"
        (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "keys")
        assert {
            "name": "keys",
            "mountPath": "/etc/dcgan-train-keys",
            "readOnly": True,
        } in container(pod)["volumeMounts"]
        secrets = [source["secret"] for source in volume["projected"]["sources"]]
        assert {secret["name"] for secret in secrets} == {"s3-keys"}
        keys = {
            item["key"]: secret.get("optional", False)
            for secret in secrets
            for item in secret["items"]
            if item["key"] == item["path"]
        }
        assert keys == {
            "AWS_ACCESS_KEY_ID": False,
            "AWS_SECRET_ACCESS_KEY": False,
            "AWS_SESSION_TOKEN": True,
        }
    assert "keys" not in {each["name"] for each in templates(job)["submitter"]["spec"]["volumes"]}
    assert "keys" not in {
        each["name"]
        for each in templates(only(rendered["default"], "RayJob"))["worker"]["spec"]["volumes"]
    }


def test_caches(rendered: Rendered) -> None:
    def volume(name: str) -> Any:
        worker = templates(only(rendered[name], "RayJob"))["worker"]
        return next(each for each in worker["spec"]["volumes"] if each["name"] == "cache")

    assert volume("default")["emptyDir"] == {"sizeLimit": "20Gi"}
    assert volume("cache-hostpath")["hostPath"] == {
        "path": "/mnt/disks/ssd0/dcgan",
        "type": "Directory",
    }
    claim = volume("cache-volume")["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["storageClassName"] == "fast-ssd"
    assert claim["resources"]["requests"]["storage"] == "500Gi"


def test_preflight_and_extras(rendered: Rendered) -> None:
    pods = templates(only(rendered["preflight"], "RayJob"))
    (check,) = pods["head"]["spec"]["initContainers"]
    assert check["command"] == [
        "dcgan-train",
        "doctor",
        "--config",
        "/etc/dcgan-train/run.yaml",
    ]
    assert check["image"] == "registry.example.com/ml/dcgan-train@sha256:" + "0123456789abcdef" * 4
    for pod in pods.values():
        assert pod["metadata"]["labels"]["cost-center"] == "a1"
        assert pod["metadata"]["annotations"]["example.com/owner"] == "vision"
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    for part in ("head", "worker"):
        assert env(pods[part])["AWS_CA_BUNDLE"] == "/etc/ca/ca.crt"
        assert "/etc/ca" in {mount["mountPath"] for mount in container(pods[part])["volumeMounts"]}


def test_openshift_gives_the_ids(rendered: Rendered) -> None:
    pod = templates(only(rendered["openshift"], "RayJob"))["worker"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["serviceAccountName"] == "trainer"


@pytest.mark.parametrize("name", CI)
def test_names(rendered: Rendered, name: str) -> None:
    job = only(rendered[name], "RayJob")["metadata"]["name"]
    assert len(job) <= 44  # 47 are allowed, but then KubeRay cuts names
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?-[0-9a-f]{8}", job)


def test_names_of_strange_releases(chart: Helm) -> None:
    for release in ("1st", "a.dotted.name", "x" * 53):
        job = only(chart.render(release=release), "RayJob")["metadata"]["name"]
        assert len(job) <= 44
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", job)
    assert only(chart.render(release="dcgan-train"), "RayJob")["metadata"]["name"].startswith(
        "dcgan-train-"
    )
    assert not only(chart.render(release="dcgan-train"), "RayJob")["metadata"]["name"].startswith(
        "dcgan-train-dcgan-train"
    )
