"""docs/kubernetes.md and READMEs: the chart accepts the values; commands and messages exist."""

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from job.config.load import load_run
from tests.charts.go_modules import module_folder
from tests.charts.helm import NAMESPACE, REQUIRED, Helm, of_kind, only
from tests.servers.tools import ROOT
from tests.test_docs import blocks

pytestmark = pytest.mark.helm

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
PAGES = ("docs/kubernetes.md", "README.md", "README.tr.md", "charts/dcgan-train/README.md")
VALUES = [
    block
    for page in PAGES
    for block in blocks((ROOT / page).read_text(), "yaml")
    if "run" in yaml.safe_load(block)
]
COMMANDS = [shlex.split(line, comments=True) for line in "\n".join(blocks(PAGE, "sh")).splitlines()]
TEN = (
    "On a laptop: kind or minikube",
    "On EKS, with a role (IRSA)",
    "On GKE, with workload identity",
)


@pytest.mark.parametrize("block", VALUES, ids=range(len(VALUES)))
def test_the_chart_and_the_run_take_the_values(chart: Helm, tmp_path: Path, block: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(block)
    text = chart.run(
        "template", "first", "charts/dcgan-train", "--namespace", NAMESPACE, "--values", str(path)
    )
    objects = [document for document in yaml.safe_load_all(text) if document]
    assert only(objects, "RayJob")
    (config,) = (each for each in of_kind(objects, "ConfigMap") if "run.yaml" in each["data"])
    path.write_text(config["data"]["run.yaml"])
    assert load_run(None, path).uri.startswith("s3://my-bucket/runs/")


def test_there_are_values_of_every_kind() -> None:
    assert len(VALUES) >= 11


def test_the_chart_takes_what_is_set_on_the_command_line(chart: Helm) -> None:
    """`helm install` and `helm upgrade` of the chart; the page's values files are checked above."""
    ours = [
        command
        for command in COMMANDS
        if command[:1] == ["helm"] and "charts/dcgan-train" in command
    ]
    assert len(ours) >= 4
    for command in ours:
        settings = [
            part
            for flag, value in itertools.pairwise(command)
            if flag == "--set"
            for part in (flag, value)
        ]
        chart.run("template", "first", "charts/dcgan-train", *REQUIRED, *settings)


def test_what_multikueue_does_not_copy_is_created_by_the_command(chart: Helm) -> None:
    """The objects that a RayJob's pods need, under the names that the RayJob has."""
    (command,) = (each for each in COMMANDS if "--show-only" in each)
    arguments = command[1 : command.index("|")]
    values = arguments.index("-f")
    del arguments[values : values + 2]
    objects = [each for each in yaml.safe_load_all(chart.run(*arguments, *REQUIRED)) if each]
    (job,) = of_kind(chart.render(release="first"), "RayJob")
    needed = {"ConfigMap", "ServiceAccount"}
    assert {each["kind"] for each in objects} == {*needed, "NetworkPolicy"}
    for each in objects:
        assert each["kind"] not in needed or each["metadata"]["name"] in str(job["spec"])


def test_the_folders_that_are_applied_are_there() -> None:
    folders = {
        command[command.index("-k") + 1]
        for command in COMMANDS
        if command[:1] == ["kubectl"] and "-k" in command
    }
    folders |= set(re.findall(r"`(k8s/[\w/-]+)`", PAGE))
    assert "k8s/overlays/try" in folders
    assert [
        folder for folder in sorted(folders) if not (ROOT / folder / "kustomization.yaml").is_file()
    ] == []


@pytest.mark.parametrize("heading", TEN)
def test_ten_commands_to_the_first_grid(heading: str) -> None:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert len(blocks(section, "sh")[0].strip().splitlines()) <= 10


def test_the_operator_is_the_one_that_the_chart_is_checked_with() -> None:
    (pinned,) = set(
        re.findall(r"kuberay/ray-operator v(\S+)", (ROOT / "tests/tools/rayjob/go.mod").read_text())
    )
    installed = [
        command[command.index("--version") + 1]
        for command in COMMANDS
        if "kuberay-operator" in command
    ]
    assert installed
    assert set(installed) == {pinned}


def test_every_reason_of_a_failed_rayjob_is_in_the_table() -> None:
    """KubeRay's, from its types; and those of 1.7, which the module proxy does not serve."""
    types = (
        module_folder("rayjob", "github.com/ray-project/kuberay/ray-operator")
        / "apis"
        / "ray"
        / "v1"
        / "rayjob_types.go"
    )
    reasons = re.findall(r'JobFailedReason = "(\w+)"', types.read_text())
    assert len(reasons) >= 6
    table = PAGE.partition("| it says |")[2]
    assert [
        reason
        for reason in (*reasons, "JobStatusCheckTimeoutExceeded")
        if f"`{reason}`" not in table
    ] == []


def test_messages_of_the_program_exist() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.partition("| it says |")[2].partition("\n\n")[0].splitlines()[2:]
    ]
    said: dict[str, Any] = {
        "the run": ROOT.glob("job/**/*.py"),
        "Helm": ROOT.glob("charts/dcgan-train/templates/*.tpl"),
    }
    # A message may be several literals, one a line.
    texts = {
        who: re.sub(r'"\n *f?"', "", "\n".join(path.read_text() for path in paths))
        for who, paths in said.items()
    }
    ours = [
        (message, texts[who])
        for cell, who, _ in rows
        if who in texts
        for message in re.findall(r"`([^`]+)`", cell)
    ]
    assert len(ours) >= 10
    assert [message for message, text in ours if message not in text] == []


def test_the_example_of_the_cost_adds_up() -> None:
    """From its own figures, and from those of docs/performance.md."""
    section = PAGE.partition("## What a run costs")[2].partition("\n## ")[0]
    performance = (ROOT / "docs" / "performance.md").read_text()
    runs = performance.partition("images/s before and after: two workers")[2]
    first, second = re.findall(r"\*\*(\d+), (\d+)\*\*", runs)[0]
    speed = (int(first) + int(second)) // 2
    spec = load_run("fashion", check=False)
    seconds = 60_000 * float(spec.training.epochs or 0) / speed
    hours = round((seconds + 60) / 3600, 2)
    for figure in (
        f"{speed} images/s",
        f"= {seconds:,.0f} s",
        f"{seconds + 60:,.0f} s = {hours:.2f} h",
        f"**{hours * 3 * 0.1008:.2f} $**",
    ):
        assert figure in section, figure
