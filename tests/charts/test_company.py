"""The templates besides the RayJob: account, policy, budgets, monitoring, test pod, notes."""

import ipaddress
import json
from typing import Any

import pytest
import yaml

from tests.charts.go_modules import kuberay_operator
from tests.charts.helm import CHART, CI, Helm, Object, container, of_kind, only, templates

pytestmark = pytest.mark.helm

Rendered = dict[str, list[Object]]
CREDENTIALS = "Missing, perhaps: credentials for S3"
MONITORING = {"PodMonitor", "PrometheusRule"}
KINDS = {"RayJob", "ConfigMap", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "Pod"}


def test_what_is_installed(rendered: Rendered) -> None:
    assert {each["kind"] for each in rendered["default"]} == KINDS
    assert {each["kind"] for each in rendered["open"]} == KINDS - {
        "NetworkPolicy",
        "PodDisruptionBudget",
    }
    assert {each["kind"] for each in rendered["openshift"]} == KINDS - {"ServiceAccount"}
    assert {each["kind"] for each in rendered["monitoring"]} == KINDS | MONITORING


@pytest.mark.parametrize("name", CI)
def test_everything_is_labelled_and_in_the_namespace(rendered: Rendered, name: str) -> None:
    for each in rendered[name]:
        is_monitoring = each["kind"] in MONITORING or "dashboards" in each["metadata"]["name"]
        moved = name == "platform" and is_monitoring
        assert each["metadata"]["namespace"] == ("monitoring" if moved else "training")
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "dcgan-train"
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "faces"
        assert len(each["metadata"]["name"]) <= 63


@pytest.mark.parametrize("name", CI)
def test_pods_are_found_by_their_labels(rendered: Rendered, name: str) -> None:
    pods: dict[str, Any] = templates(only(rendered[name], "RayJob")) | {
        "test": only(rendered[name], "Pod")
    }
    for component, pod in pods.items():
        assert pod["metadata"]["labels"].items() >= {
            ("app.kubernetes.io/name", "dcgan-train"),
            ("app.kubernetes.io/instance", "faces"),
            ("app.kubernetes.io/component", component),
        }


def test_service_account(rendered: Rendered) -> None:
    account = only(rendered["eks"], "ServiceAccount")
    assert account["metadata"]["name"] == "trainer"
    assert account["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/trainer"
    }
    for objects in rendered.values():
        assert all(
            each["automountServiceAccountToken"] is False
            for each in of_kind(objects, "ServiceAccount")
        )
        names = {
            pod["spec"]["serviceAccountName"] for pod in templates(only(objects, "RayJob")).values()
        }
        assert names <= {
            each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")
        } | {"trainer"}


def test_no_roles_at_all(rendered: Rendered) -> None:
    for objects in rendered.values():
        assert not {each["kind"] for each in objects} & {
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
            "Secret",
        }


def ports(rule: Object) -> list[int]:
    return [each["port"] for each in rule["ports"]]


def test_network_policy(rendered: Rendered) -> None:
    policy = only(rendered["default"], "NetworkPolicy")["spec"]
    ours = {
        "matchLabels": {
            "app.kubernetes.io/name": "dcgan-train",
            "app.kubernetes.io/instance": "faces",
        }
    }
    assert policy["podSelector"] == ours
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    inside, operator, monitoring = policy["ingress"]
    assert inside == {"from": [{"podSelector": ours}]}
    assert ports(operator) == [8265]
    deployment = next(
        each
        for each in yaml.safe_load_all(kuberay_operator().read_text())
        if each["kind"] == "Deployment"
    )
    labels = operator["from"][0]["podSelector"]["matchLabels"].items()
    assert labels <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert labels
    assert ports(monitoring) == [9090, 8080]
    inside, dns, store = policy["egress"]
    assert inside == {"to": [{"podSelector": ours}]}
    assert ports(dns) == [53, 53]
    assert store == {"ports": [{"protocol": "TCP", "port": 443}]}


def test_network_policy_of_others(rendered: Rendered) -> None:
    (*_, store) = only(rendered["s3-in-cluster"], "NetworkPolicy")["spec"]["egress"]
    assert ports(store) == [443, 7070]
    assert store["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}
    ]
    (*_, api_server) = only(rendered["elastic"], "NetworkPolicy")["spec"]["egress"]
    assert ports(api_server) == [443, 6443, 8443, 16443]
    (*_, metadata_server) = only(rendered["gke"], "NetworkPolicy")["spec"]["egress"]
    assert ports(metadata_server) == [988]
    _, dns, _ = only(rendered["openshift"], "NetworkPolicy")["spec"]["egress"]
    assert [(each["protocol"], each["port"]) for each in dns["ports"]] == [
        ("UDP", 5353),
        ("TCP", 5353),
    ]
    assert dns["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}
    ]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://s3:7070", 7070),
        ("https://s3.example.com/path", 443),
        ("https://[fd00::1]:9000", 9000),
    ],
)
def test_the_port_of_the_store_is_open(chart: Helm, endpoint: str, port: int) -> None:
    (*_, store) = only(
        chart.render("--set", f"run.storage.endpoint_url={endpoint}"), "NetworkPolicy"
    )["spec"]["egress"]
    assert ports(store) == list(dict.fromkeys([443, port]))
    assert "to" not in store


@pytest.mark.parametrize(
    ("name", "value", "port"),
    [
        ("AWS_ENDPOINT_URL", "http://s3:7070", 7070),
        ("AWS_ENDPOINT_URL_S3", "https://s3.example.com:8333/path", 8333),
        ("AWS_ENDPOINT_URL_STS", "https://[fd00::1]:8444", 8444),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:8080/credentials", 8080),
        ("HTTPS_PROXY", "http://proxy.example.com:3128/", 3128),
        ("http_proxy", "10.0.0.9:3129", 3129),
    ],
)
def test_ports_of_extra_addresses_are_open(chart: Helm, name: str, value: str, port: int) -> None:
    """A proxy without a scheme too; other variables with an address open nothing."""

    def opened(variable: str) -> list[int]:
        settings = f"extraEnv[0].name={variable},extraEnv[0].value={value}"
        (*_, store) = only(chart.render("--set-string", settings), "NetworkPolicy")["spec"][
            "egress"
        ]
        return ports(store)

    assert opened(name) == [443, port]
    assert opened("TRACKING_URL") == [443]


def test_a_proxy_without_a_port_is_at_port_80(chart: Helm) -> None:
    settings = "extraEnv[0].name=HTTP_PROXY,extraEnv[0].value=http://proxy"
    *_, store, plain = only(chart.render("--set", settings), "NetworkPolicy")["spec"]["egress"]
    assert (ports(store), ports(plain)) == ([443], [80])


def test_port_80_is_not_open_to_what_hands_out_credentials_of_nodes(chart: Helm) -> None:
    endpoint = ("--set", "run.storage.endpoint_url=http://s3")
    *_, store, plain = only(chart.render(*endpoint), "NetworkPolicy")["spec"]["egress"]
    assert (ports(store), ports(plain)) == ([443], [80])
    addresses = [peer["ipBlock"] for peer in plain["to"] if "ipBlock" in peer]
    for server in ("169.254.169.254", "169.254.170.23", "fd00:ec2::254"):
        assert not any(reaches(block, server) for block in addresses)
    assert all(
        any(reaches(block, store) for block in addresses)
        for store in ("203.0.113.9", "2001:db8::9")
    )
    (*_, chosen) = only(
        chart.render(*endpoint, "--set", "networkPolicy.s3.to[0].ipBlock.cidr=10.0.0.0/8"),
        "NetworkPolicy",
    )["spec"]["egress"]
    assert ports(chosen) == [443, 80]


def reaches(block: dict[str, Any], address: str) -> bool:
    one = ipaddress.ip_address(address)
    return one in ipaddress.ip_network(block["cidr"]) and not any(
        one in ipaddress.ip_network(each) for each in block["except"]
    )


def test_budgets(rendered: Rendered) -> None:
    head = only(rendered["default"], "PodDisruptionBudget")
    assert head["spec"]["minAvailable"] == 1
    assert head["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "head"
    _, workers = of_kind(rendered["long-name"], "PodDisruptionBudget")
    assert workers["spec"]["minAvailable"] == 2
    assert workers["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"


def test_pod_monitor_finds_the_port_of_the_workers(rendered: Rendered) -> None:
    monitor = only(rendered["monitoring"], "PodMonitor")
    worker = templates(only(rendered["monitoring"], "RayJob"))["worker"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= worker["metadata"]["labels"].items()
    )
    endpoints = [
        (each["port"], each["interval"]) for each in monitor["spec"]["podMetricsEndpoints"]
    ]
    assert endpoints == [("metrics", "30s"), ("ray-metrics", "30s")]
    assert {port for port, _ in endpoints} <= {port["name"] for port in container(worker)["ports"]}


def test_rules_are_the_file(rendered: Rendered) -> None:
    rule = only(rendered["monitoring"], "PrometheusRule")
    files = sorted(CHART.joinpath("files", "rules").glob("*.yaml"))
    assert rule["spec"]["groups"] == [
        group for path in files for group in yaml.safe_load(path.read_text())["groups"]
    ]
    assert "{{ $labels.run }}" in json.dumps(rule)


def test_alerts_link_to_the_runbook(chart: Helm, rendered: Rendered) -> None:
    """By a whole address, or none: a path is a broken link in Alertmanager."""
    settings = "monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.runbookBaseUrl=https://git.example.com/gan/blob/main/"
    rule = only(chart.render("--set", settings), "PrometheusRule")
    alerts = [
        each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each
    ]
    links = {each["alert"]: each["annotations"]["runbook_url"] for each in alerts}
    assert links["DcganHang"] == "https://git.example.com/gan/blob/main/docs/runbook.md#dcganhang"
    assert len(set(links.values())) == len(alerts) > 10
    assert "runbook_url" not in json.dumps(rendered["monitoring"])


def test_dashboards_are_the_files(rendered: Rendered) -> None:
    (board,) = (
        each
        for each in of_kind(rendered["monitoring"], "ConfigMap")
        if "run.yaml" not in each["data"]
    )
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"] == {"grafana_folder": "Training"}
    assert {name: json.loads(text) for name, text in board["data"].items()} == {
        path.name: json.loads(path.read_text())
        for path in CHART.joinpath("files", "dashboards").glob("*.json")
    }


def test_the_test_pod_checks_and_goes(rendered: Rendered) -> None:
    pod = only(rendered["s3-in-cluster"], "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert container(pod)["command"][1] == "doctor"
    assert {"AWS_CONFIG_FILE", "RAY_ADDRESS"} <= {each["name"] for each in container(pod)["env"]}
    assert "/etc/dcgan-train-keys" in {each["mountPath"] for each in container(pod)["volumeMounts"]}
    assert pod["spec"]["restartPolicy"] == "Never"


def test_notes(chart: Helm, rendered: Rendered) -> None:
    notes = chart.notes(values="default")
    assert (
        f"kubectl -n training logs -f job/{only(rendered['default'], 'RayJob')['metadata']['name']}"
        in notes
    )
    assert "s3://bucket/runs/one" in notes
    assert "helm test -n training faces --logs" in notes
    assert "Missing, perhaps: credentials for S3" in notes
    assert "Missing, perhaps: the image. image.repository is dcgan-train" in notes
    assert "PodMonitor" in notes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("s3-in-cluster", ()),
        (
            "sidecar-mode",
            ("logs -f -c ray-job-submitter", "because of job.submissionMode: SidecarMode."),
        ),
        ("kueue", ("starts when Kueue's queue gpus admits it",)),
        ("suspended", ("It is suspended",)),
        (
            "open",
            ("Its pods stay after its end, and cost", "pods use the credentials of their nodes"),
        ),
        ("openshift", ("If trainer has that annotation", "169.254.170.23, port 80")),
        ("http-mode", (".status.message",)),
    ],
)
def test_notes_say_what_is_special(chart: Helm, values: str, expected: tuple[str, ...]) -> None:
    notes = chart.notes(values=values)
    for each in expected:
        assert each in notes
    assert (CREDENTIALS in notes) == (values != "s3-in-cluster")


@pytest.mark.parametrize(
    ("settings", "is_missing"),
    [
        ((), True),
        (("credentials.existingSecret=keys",), False),
        ((r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn",), False),
        ((r"serviceAccount.annotations.azure\.workload\.identity/client-id=id",), True),
        ((r"serviceAccount.annotations.iam\.gke\.io/gcp-service-account=one",), True),
        (("extraEnv[0].name=AWS_ROLE_ARN", "extraEnv[0].value=arn"), False),
        (("extraEnvFrom[0].secretRef.name=keys",), False),
        (("extraEnv[0].name=NCCL_DEBUG", "extraEnv[0].value=INFO"), True),
    ],
)
def test_notes_say_what_may_be_missing(
    chart: Helm, settings: tuple[str, ...], is_missing: bool
) -> None:
    notes = chart.notes(
        *(
            word
            for each in (*settings, "image.repository=registry/dcgan-train")
            for word in ("--set", each)
        )
    )
    assert (CREDENTIALS in notes) == is_missing
    assert "Missing, perhaps: the image" not in notes
