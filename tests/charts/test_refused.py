"""Wrong values are rejected before anything reaches a cluster; the message names the key."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.charts.helm import Helm, Refused

pytestmark = pytest.mark.helm

DIGEST = "sha256:" + "0" * 64
# Values, and parts of the message. Paths with dots are the templates', with slashes the schema's.
WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no run folder": (("run.uri=",), ("run.uri is not set", "s3://bucket/prefix")),
    "no images": (("run.data.uri=",), ("run.data.uri is not set",)),
    "run folder on a laptop": (("run.uri=runs/one",), ("/run/uri",)),
    "images in a folder that pods have not": (
        ("run.data.uri=file:///data",),
        ("run.data.uri is file:///data", "extraVolumeMounts"),
    ),
    "one place for both": (
        ("run.uri=s3://bucket/packed/one/",),
        ("run.uri and run.data.uri are both",),
    ),
    "unknown key": (("wrokers.count=2",), ("wrokers",)),
    "unknown key of a section": (("workers.replicas=2",), ("/workers", "replicas")),
    "unknown key of the run": (("run.training.epoch=2",), ("/run/training", "epoch")),
    "unknown preset": (("run.preset=dcgan65",), ("/run/preset",)),
    "a limit of the run": (
        ("run.model.generator.kernel_size=1",),
        ("/run/model/generator/kernel_size", "minimum"),
    ),
    "an open limit of the run": (("run.training.epochs=0",), ("/run/training/epochs",)),
    "a choice of the run": (("run.training.updates=both",), ("/run/training/updates",)),
    "workers by the run": (("run.workers.count=4",), ("/run/workers", "count")),
    "cache by the run": (("run.data.cache_bytes=5",), ("/run/data", "cache_bytes")),
    "port by the run": (("run.metrics.port=80",), ("/run/metrics", "port")),
    "credentials in the run": (
        ("run.storage.secret_access_key=x",),
        ("/run/storage", "secret_access_key"),
    ),
    "profile": (("profile=tpu",), ("/profile",)),
    "text for a number": (("workers.count=two",), ("/workers/count", "integer")),
    "no worker": (("workers.count=0",), ("/workers/count", "minimum")),
    "half a worker": (("workers.count=1.5",), ("/workers/count",)),
    "order of workers": (("workers.min=3",), ("workers.min is 3, workers.count 2, workers.max 2",)),
    "order of workers above": (("workers.max=1",), ("workers.max 1; expected them in this order",)),
    "more workers without what adds them": (
        ("workers.max=4", "workers.autoscaler=false"),
        ("workers.max is 4 and workers.count 2 with workers.autoscaler: false",),
    ),
    "no cores": (("workers.cpus=0",), ("/workers/cpus",)),
    "memory without a unit": (("head.memory=4",), ("/head/memory",)),
    "memory in powers of ten": (("workers.memory=4G",), ("/workers/memory",)),
    "shared memory of all the memory": (
        ("workers.shmGiB=4",),
        ("workers.shmGiB is 4 and workers.memory 4Gi",),
    ),
    "shared memory above the memory": (
        ("workers.memory=512Mi",),
        ("workers.shmGiB is 1 and workers.memory 512Mi",),
    ),
    "gpu profile without": (
        ("profile=gpu", "workers.gpus=0"),
        ("workers.gpus is 0 with profile: gpu",),
    ),
    "gpus without the profile": (("workers.gpus=1",), ("workers.gpus is 1 with profile: cpu",)),
    "image by a short digest": (("image.digest=sha256:0123",), ("/image/digest",)),
    "pull policy": (("image.pullPolicy=Sometimes",), ("/image/pullPolicy",)),
    "a Ray without tokens": (("rayVersion=2.51.0",), ("/rayVersion",)),
    "submission": (("job.submissionMode=InteractiveMode",), ("/job/submissionMode",)),
    "submitter's limit without one": (
        ("job.submissionMode=SidecarMode", "job.submitterBackoffLimit=1"),
        ("job.submitterBackoffLimit is set with job.submissionMode: SidecarMode",),
    ),
    "retries below none": (("job.backoffLimit=-1",), ("/job/backoffLimit",)),
    "deadline of no time": (("job.activeDeadlineSeconds=0",), ("/job/activeDeadlineSeconds",)),
    "beginning longer than the whole": (
        ("job.activeDeadlineSeconds=600",),
        ("job.activeDeadlineSeconds is 600", "job.preRunningDeadlineSeconds 3600"),
    ),
    "deadline that stops nothing": (
        ("job.activeDeadlineSeconds=7200", "cleanup.policy=none"),
        ("job.activeDeadlineSeconds is 7200 with cleanup.policy: none",),
    ),
    "suspended under rules": (
        ("job.suspend=true",),
        ("job.suspend is true with cleanup.policy: rules",),
    ),
    "queue under rules": (("job.queue=gpus",), ("job.queue is gpus with cleanup.policy: rules",)),
    "queue and autoscaler": (
        ("job.queue=gpus", "cleanup.policy=shutdown", "workers.min=1"),
        ("job.queue is gpus with workers.autoscaler: true", "kueue.x-k8s.io/elastic-job"),
    ),
    "a registry with a scheme": (
        ("global.imageRegistry=https://mirror.example.com",),
        ("/global/imageRegistry",),
    ),
    "MultiKueue without its queue": (
        ("job.managedBy=kueue.x-k8s.io/multikueue",),
        ("job.managedBy is kueue.x-k8s.io/multikueue without job.queue",),
    ),
    "unknown manager": (("job.managedBy=argo",), ("/job/managedBy",)),
    "GPUs of nothing": (
        ("profile=gpu", "workers.gpuResource="),
        ("workers.gpuResource is empty, workers.gpus 1, and workers.resourceClaims is not set",),
    ),
    "a claim of two kinds": (
        (
            "workers.resourceClaims[0].name=gpu",
            "workers.resourceClaims[0].resourceClaimName=a",
            "workers.resourceClaims[0].resourceClaimTemplateName=b",
        ),
        ("/workers/resourceClaims/0",),
    ),
    "scrapes longer than their interval": (
        ("monitoring.podMonitor.scrapeTimeout=1m",),
        ("monitoring.podMonitor.scrapeTimeout is 1m and interval 15s",),
    ),
    "two containers of one name": (
        ("extraContainers[0].name=ray-head", "extraContainers[0].image=x"),
        ("extraContainers[0] is named ray-head",),
    ),
    "a container without an image": (
        ("extraInitContainers[0].name=ca",),
        ("/extraInitContainers/0", "image"),
    ),
    "labels that are the chart's": (
        (r"commonLabels.app\.kubernetes\.io/managed-by=argo",),
        ("/commonLabels",),
    ),
    "variables from nowhere": (("extraEnvFrom[0].secret=keys",), ("/extraEnvFrom/0",)),
    "clean-up": (("cleanup.policy=soon",), ("/cleanup/policy",)),
    "token mode": (("auth.mode=password",), ("/auth/mode",)),
    "token without tokens": (
        ("auth.mode=disabled", "auth.existingSecret=ray"),
        ("auth.existingSecret is set with auth.mode: disabled",),
    ),
    "too little grace": (
        ("termination.gracePeriodSeconds=30",),
        ("termination.gracePeriodSeconds is 30; expected at least 60",),
    ),
    "grace below the last checkpoint": (
        ("run.checkpoints.grace_seconds=300", "termination.gracePeriodSeconds=100"),
        ("termination.gracePeriodSeconds is 100; expected at least 310",),
    ),
    "drain below the last checkpoint": (
        ("run.checkpoints.grace_seconds=90",),
        (
            "termination.drainSeconds is 60 and run.checkpoints.grace_seconds 90;",
            "or termination.drainSeconds: 0",
        ),
    ),
    "drain below the default of the last checkpoint": (
        ("termination.drainSeconds=20",),
        ("termination.drainSeconds is 20 and run.checkpoints.grace_seconds 25;",),
    ),
    "drain below what scrapes need": (
        ("monitoring.podMonitor.interval=2m",),
        (
            "termination.drainSeconds is 60 and run.checkpoints.grace_seconds 130"
            " (by monitoring.podMonitor.interval, which is 2m)",
        ),
    ),
    "scrapes that miss a stop": (
        (
            "monitoring.podMonitor.enabled=true",
            "monitoring.podMonitor.interval=26s",
            "run.checkpoints.grace_seconds=30",
        ),
        ("monitoring.podMonitor.interval is 26s and run.checkpoints.grace_seconds 30",),
    ),
    "cache kind": (("cache.kind=tmpfs",), ("/cache/kind",)),
    "no host path": (
        ("cache.kind=hostPath",),
        ("cache.hostPath is not set with cache.kind: hostPath",),
    ),
    "the host's root": (("cache.kind=hostPath", "cache.hostPath=/"), ("/cache/hostPath",)),
    "a host path for nothing": (
        ("cache.hostPath=/mnt/ssd",),
        ("cache.hostPath is /mnt/ssd with cache.kind: emptyDir",),
    ),
    "a storage class for nothing": (
        ("cache.storageClassName=fast",),
        ("cache.storageClassName is fast with cache.kind: emptyDir",),
    ),
    "no service account": (
        ("serviceAccount.create=false",),
        ("serviceAccount.name is not set with serviceAccount.create: false",),
    ),
    "keys and a role": (
        (
            "credentials.existingSecret=keys",
            r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn",
        ),
        ("credentials.existingSecret and serviceAccount.annotations",),
    ),
    "keys of two sources": (
        (
            "credentials.existingSecret=keys",
            "extraEnv[0].name=AWS_WEB_IDENTITY_TOKEN_FILE",
            "extraEnv[0].value=/var/run/token",
        ),
        ("extraEnv[0] sets AWS_WEB_IDENTITY_TOKEN_FILE, and credentials.existingSecret is set",),
    ),
    "a mount over the keys": (
        (
            "extraVolumes[0].name=big",
            "extraVolumeMounts[0].name=big",
            "extraVolumeMounts[0].mountPath=/etc/dcgan-train-keys",
        ),
        ("extraVolumeMounts[0] is at /etc/dcgan-train-keys",),
    ),
    "a secret in the open": (
        ("extraEnv[0].name=AWS_SECRET_ACCESS_KEY", "extraEnv[0].value=x"),
        ("extraEnv[0] gives AWS_SECRET_ACCESS_KEY a value",),
    ),
    "a token in the open": (
        ("extraEnv[0].name=HF_TOKEN", "extraEnv[0].value=x"),
        ("extraEnv[0] gives HF_TOKEN a value", "extraEnvNotSecret"),
    ),
    "a key in the open": (
        ("extraEnv[0].name=WANDB_API_KEY", "extraEnv[0].value=x"),
        ("extraEnv[0] gives WANDB_API_KEY a value",),
    ),
    "a password in the open": (
        ("extraEnv[0].name=PGPASSWORD", "extraEnv[0].value=x"),
        ("extraEnv[0] gives PGPASSWORD a value",),
    ),
    "a secret by small letters": (
        ("extraEnv[0].name=client_secret", "extraEnv[0].value=x"),
        ("extraEnv[0] gives client_secret a value",),
    ),
    "a password in an address": (
        ("extraEnv[0].name=HTTPS_PROXY", "extraEnv[0].value=http://me:key@proxy:3128"),
        ("extraEnv[0] gives HTTPS_PROXY an address with a password",),
    ),
    "a variable twice": (
        (
            "extraEnv[0].name=LEVEL",
            "extraEnv[0].value=x",
            "extraEnv[1].name=LEVEL",
            "extraEnv[1].value=y",
        ),
        ("extraEnv[1] sets LEVEL again, after extraEnv[0]",),
    ),
    "metrics where nobody scrapes them": (
        ("run.metrics.host=127.0.0.1",),
        ("additional properties host not allowed",),
    ),
    "a variable of the chart's": (
        ("extraEnv[0].name=RAY_AUTH_MODE", "extraEnv[0].value=x"),
        ("extraEnv[0] sets RAY_AUTH_MODE",),
    ),
    "a volume of the chart's": (
        ("extraVolumes[0].name=cache",),
        ("extraVolumes[0] is named cache",),
    ),
    "a variable with two values": (
        (
            "extraEnv[0].name=A",
            "extraEnv[0].value=x",
            "extraEnv[0].valueFrom.fieldRef.fieldPath=status.podIP",
        ),
        ("/extraEnv/0", "oneOf"),
    ),
    "a variable without a value": (("extraEnv[0].name=A",), ("/extraEnv/0", "oneOf")),
    "a mount of no volume": (
        ("extraVolumeMounts[0].name=ca", "extraVolumeMounts[0].mountPath=/etc/ca"),
        ("extraVolumeMounts[0] names the volume ca",),
    ),
    "a mount of a volume that only workers have": (
        ("extraVolumeMounts[0].name=cache", "extraVolumeMounts[0].mountPath=/mnt/cache"),
        ("extraVolumeMounts[0] names the volume cache",),
    ),
    "a mount over one of the chart's": (
        (
            "extraVolumes[0].name=big",
            "extraVolumeMounts[0].name=big",
            "extraVolumeMounts[0].mountPath=/dev/shm/",
        ),
        ("extraVolumeMounts[0] is at /dev/shm/",),
    ),
    "a mount at no path": (
        (
            "extraVolumes[0].name=big",
            "extraVolumeMounts[0].name=big",
            "extraVolumeMounts[0].mountPath=data",
        ),
        ("/extraVolumeMounts/0/mountPath",),
    ),
    "a toleration with unknown keys": (
        ("workers.tolerations[0].keys=spot",),
        ("/workers/tolerations/0", "keys"),
    ),
    "a toleration of no effect": (
        ("head.tolerations[0].effect=NoRun",),
        ("/head/tolerations/0/effect",),
    ),
    "no head": (("head=null",), ("missing property head",)),
    "no part of a policy": (("networkPolicy.s3=null",), ("/networkPolicy", "missing property s3")),
    "no number of workers": (("workers.count=null",), ("/workers", "missing property count")),
    "no labels at all": (("podLabels=null",), ("missing property podLabels",)),
    "a label of the chart's": ((r"podLabels.app\.kubernetes\.io/instance=other",), ("/podLabels",)),
    "root": (("podSecurityContext.runAsUser=0",), ("/podSecurityContext/runAsUser",)),
    "root by another name": (
        ("podSecurityContext.runAsNonRoot=false",),
        ("/podSecurityContext", "runAsNonRoot"),
    ),
    "an address for a peer": (("networkPolicy.s3.to[0]=10.0.0.1",), ("/networkPolicy/s3/to/0",)),
    "a peer with unknown keys": (
        ("networkPolicy.s3.to[0].cidr=10.0.0.0/8",),
        ("/networkPolicy/s3/to/0", "cidr"),
    ),
    "a port out of range": (("networkPolicy.s3.ports[0]=70000",), ("/networkPolicy/s3/ports/0",)),
    "a port of DNS out of range": (
        ("networkPolicy.dnsPorts[0]=0",),
        ("/networkPolicy/dnsPorts/0",),
    ),
    "scraped how often": (
        ("monitoring.podMonitor.interval=often",),
        ("/monitoring/podMonitor/interval",),
    ),
    "scraped too seldom": (
        ("monitoring.podMonitor.interval=151s",),
        ("/monitoring/podMonitor/interval",),
    ),
    "a runbook at a path": (
        ("monitoring.prometheusRule.runbookBaseUrl=docs",),
        ("/monitoring/prometheusRule/runbookBaseUrl",),
    ),
    "a name in capitals": (("fullnameOverride=Faces",), ("/fullnameOverride",)),
}


@pytest.fixture(scope="module")
def messages(chart: Helm) -> dict[str, str]:
    """Return Helm's message for each; empty if it accepts the values."""

    def message(name: str) -> str:
        arguments = [word for each in WRONG[name][0] for word in ("--set", each)]
        try:
            chart.render(*arguments)
        except Refused as refused:
            return str(refused)
        return ""

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(WRONG, pool.map(message, WRONG), strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_refused_by_name(messages: dict[str, str], name: str) -> None:
    assert messages[name], f"{WRONG[name][0]} was taken"
    for expected in WRONG[name][1]:
        assert expected in messages[name].replace("'", "")


def test_names_that_only_look_like_secrets_are_taken(chart: Helm) -> None:
    """Whole words of a name decide; paths and switches are not secrets; users list exceptions."""
    names = [
        "TOKENIZERS_PARALLELISM",
        "MAX_TOKENS",
        "VAULT_TOKEN_PATH",
        "AWS_SECRETS_EXTENSION_ENABLED",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ]
    names += ["SECRET_NAME", "TOKEN_TTL", "PASSWORDLESS", "SECRETARY"]
    variables = [
        word
        for index, name in enumerate(names)
        for word in ("--set", f"extraEnv[{index}].name={name},extraEnv[{index}].value=x")
    ]
    chart.render(*variables)
    chart.render(
        "--set", "extraEnv[0].name=PAD_TOKEN,extraEnv[0].value=x,extraEnvNotSecret[0]=PAD_TOKEN"
    )


def test_messages_hold_no_secret(messages: dict[str, str]) -> None:
    assert "me:key" not in messages["a password in an address"]
