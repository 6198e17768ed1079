"""One version: pyproject.toml's, in every file that names it."""

import importlib.metadata

import pytest

from job.cli.main import run_command
from release import version


def test_every_file_that_names_a_version_names_this_one() -> None:
    found = {(path.relative_to(version.ROOT).as_posix(), name) for path, name in version.mentions()}
    assert {
        "Dockerfile",
        "charts/dcgan-train/Chart.yaml",
        "docs/kubernetes.md",
        "k8s/base/kustomization.yaml",
        "k8s/base/rayjob.yaml",
        "k8s/components/local-s3/images.yaml",
        "k8s/overlays/gpu/kustomization.yaml",
        "k8s/overlays/try/kustomization.yaml",
        ".github/workflows/ci.yml",
    } < {path for path, _ in found}
    assert {name for _, name in found} == {version.current()}


@pytest.mark.parametrize(
    "text",
    [
        "docker build -t dcgan-train:1.2.3-gpu --target gpu .",
        "ARG VERSION=1.2.3",
        'newTag: "1.2.3"',
        "newTag: 1.2.3-gpu",
        'version = "1.2.3"',
        "version: 1.2.3",
        'appVersion: "1.2.3"',
        'app.kubernetes.io/version: "1.2.3"',
    ],
)
def test_each_form_is_replaced(text: str) -> None:
    assert version.MENTION.sub(r"\g<1>4.5.6", text) == text.replace("1.2.3", "4.5.6")


@pytest.mark.parametrize("text", ["keras==1.2.3", "the version 1.2.3", "  version: 1.2.3"])
def test_other_versions_are_left_alone(text: str) -> None:
    assert version.MENTION.search(text) is None


def test_the_program_reports_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.metadata.version("dcgan-train") == version.current()
    assert run_command(["--version"]) == 0
    assert version.current() in capsys.readouterr().out
