"""The workflows: valid, and with the commands of the documents. Nothing here runs them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.tools import ROOT, require_tool
from tests.test_docs import blocks

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def actionlint(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [require_tool("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", *paths]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def jobs(name: str) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    return workflow["jobs"]


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"].strip() for step in job["steps"] if "run" in step]


def test_actionlint_finds_nothing() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    done = actionlint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_an_output_that_no_step_has(tmp_path: Path) -> None:
    text = WORKFLOWS[1].read_text()
    broken = tmp_path / "release.yml"
    broken.write_text(text.replace("steps.build.outputs.digest", "steps.bild.outputs.digest"))
    done = actionlint(broken)
    assert done.returncode == 1
    assert 'property "bild" is not defined' in done.stdout


def test_kind_runs_the_commands_of_the_page() -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    section = page.partition("\n## On a laptop: kind or minikube\n")[2]
    documented = blocks(section, "sh")[0].strip().splitlines()
    ran = commands(jobs("ci.yml")["kind"])
    # The log is followed by people; here the end is waited for.
    assert [line for line in documented if " logs -f " not in line and line not in ran] == []
    assert any("SUCCEEDED" in line for line in ran)


@pytest.mark.parametrize("name", ["image", "chart"])
def test_what_is_pushed_was_tested_and_has_a_provenance(name: str) -> None:
    found = jobs("release.yml")
    needed, waiting = set(), [name]
    while waiting:
        needs = found[waiting.pop()].get("needs", [])
        waiting += [needs] if isinstance(needs, str) else needs
        needed.update(waiting)
    assert {"test", "dist"} <= needed
    uses = [step.get("uses", "").partition("@")[0] for step in found[name]["steps"]]
    assert "actions/attest-build-provenance" in uses
    assert found[name]["permissions"]["id-token"] == "write"
