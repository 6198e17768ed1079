"""Files of a release: complete, nothing else in them, the same bytes from each build."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import changelog, dist
from release.changelog import CHANGELOG
from release.version import current
from tests.charts.helm import REQUIRED, Helm, container, only, templates
from tests.servers.process import server_process
from tests.servers.tools import ROOT, require_tool, skip_or_fail

BUILT_BY_SETUPTOOLS = re.compile(r"PKG-INFO|setup\.cfg|dcgan_train\.egg-info/.*")


def tracked(*folders: str) -> set[str]:
    """Return the files that git tracks, or would if they were added."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {
        name
        for name in filter(None, listed.split("\0"))
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "source"
    dist.copy_sources(folder)
    return folder


@pytest.fixture(scope="module")
def packages(source: Path) -> Path:
    """Return the folder of the wheel and the sdist."""
    out = source.parent / "packages"
    out.mkdir()
    dist.python_packages(source, out)
    return out


@pytest.mark.slow
def test_the_wheel_has_the_program_and_nothing_else(packages: Path) -> None:
    with zipfile.ZipFile(packages / f"dcgan_train-{current()}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        entry_points = wheel.read(f"dcgan_train-{current()}.dist-info/entry_points.txt").decode()
    assert {name for name in names if ".dist-info/" not in name} == tracked("job")
    assert f"dcgan_train-{current()}.dist-info/licenses/LICENSE" in names
    assert "dcgan-train = job.cli.main:run" in entry_points


@pytest.mark.slow
def test_the_sdist_is_the_repository(packages: Path) -> None:
    with tarfile.open(packages / f"dcgan_train-{current()}.tar.gz") as sdist:
        members = [member for member in sdist.getmembers() if member.isfile()]
    names = {member.name.partition("/")[2] for member in members}
    assert {name for name in names if not BUILT_BY_SETUPTOOLS.fullmatch(name)} == tracked()
    assert {(member.uid, member.uname, member.mtime) for member in members} == {
        (0, "", dist.epoch())
    }
    assert {member.mode for member in members} == {0o644, 0o755}


def packed_chart(path: Path) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Return Chart.yaml, values.yaml and the names of all files of a packaged chart."""
    with tarfile.open(path) as archive:
        documents = [
            yaml.safe_load(archive.extractfile(f"dcgan-train/{name}").read())  # type: ignore[union-attr]
            for name in ("Chart.yaml", "values.yaml")
        ]
        return documents[0], documents[1], set(archive.getnames())


def chart_of(source: Path, tmp_path: Path) -> Path:
    """Return a copy of the chart's sources: publishing writes the image's name into them."""
    shutil.copytree(source / dist.CHART, tmp_path / "copy" / dist.CHART)
    return tmp_path / "copy"


@pytest.mark.helm
def test_a_published_chart_names_its_image_and_its_changes(source: Path, tmp_path: Path) -> None:
    require_tool("helm")
    copy = chart_of(source, tmp_path)
    dist.chart(copy, tmp_path, "ghcr.io/us/dcgan-train", "https://example.com/us/dcgan-train")
    about, values, names = packed_chart(tmp_path / f"dcgan-train-{current()}.tgz")
    assert values["image"]["repository"] == "ghcr.io/us/dcgan-train"
    assert about["home"] == "https://example.com/us/dcgan-train"
    notes = about["annotations"]
    assert notes["artifacthub.io/license"] == "Apache-2.0"
    assert yaml.safe_load(notes["artifacthub.io/images"]) == [
        {"name": name, "image": f"ghcr.io/us/dcgan-train:{current()}{suffix}"}
        for name, suffix in (("dcgan-train", ""), ("dcgan-train-gpu", "-gpu"))
    ]
    changes = yaml.safe_load(notes["artifacthub.io/changes"])
    assert len(changes) == changelog.notes(current(), CHANGELOG.read_text()).count("\n- ")
    assert {each["kind"] for each in changes} <= set(changelog.KINDS)
    (link,) = yaml.safe_load(notes["artifacthub.io/links"])
    assert link["url"].endswith(f"/blob/v{current()}/docs/kubernetes.md")
    assert {"dcgan-train/values.schema.json", "dcgan-train/files/rules/alerts.yaml"} < names
    assert not any("/ci/" in name for name in names)


@pytest.mark.helm
def test_the_chart_installs_from_a_registry(source: Path, tmp_path: Path, free_port: int) -> None:
    """As an OCI artefact, pushed and rendered by Helm."""
    helm = Helm(require_tool("helm"))
    dist.chart(chart_of(source, tmp_path), tmp_path, "ghcr.io/us/dcgan-train")
    charts = f"oci://127.0.0.1:{free_port}/us/charts"
    command = [require_tool("registry"), "-port", str(free_port)]
    with server_process(command, lambda: accepts(free_port), tmp_path / "log"):
        helm.run("push", str(tmp_path / f"dcgan-train-{current()}.tgz"), charts, "--plain-http")
        version = ("--version", current(), "--plain-http")
        text = helm.run("template", "faces", f"{charts}/dcgan-train", *version, *REQUIRED)
    job = only([each for each in yaml.safe_load_all(text) if each], "RayJob")
    assert container(templates(job)["head"])["image"] == f"ghcr.io/us/dcgan-train:{current()}"


def accepts(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache Software License; BSD License",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "Mozilla Public License 2.0 (MPL 2.0)",
    ],
)
def test_permissive_licences_are_allowed(licence: str) -> None:
    assert dist.refusal("package", licence) is None


@pytest.mark.parametrize(
    ("licence", "reason"),
    [
        (None, "package: no licence found"),
        ("UNKNOWN", "package: no licence found"),
        ("GPL-3.0-only", "package: its licence is GPL-3.0-only"),
        ("MIT AND AGPL-3.0", "package: its licence is MIT AND AGPL-3.0"),
        ("NVIDIA Proprietary Software", "package: its licence is NVIDIA"),
    ],
)
def test_other_licences_end_the_build(licence: str | None, reason: str) -> None:
    assert str(dist.refusal("package", licence)).startswith(reason)


@pytest.mark.live
def test_two_builds_have_the_same_bytes_and_a_valid_bill_of_materials(tmp_path: Path) -> None:
    require_tool("helm")
    if not (dist.TOOLS / "cyclonedx-py").exists():
        skip_or_fail("cyclonedx-py: not found in .tools/release; run `make dist`")
    hashes = []
    for out in (tmp_path / "one", tmp_path / "two"):
        dist.build(out)
        hashes.append(
            {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
        )
    assert hashes[0] == hashes[1]
    assert hashes[0].keys() == {
        f"dcgan_train-{current()}-py3-none-any.whl",
        f"dcgan_train-{current()}.tar.gz",
        f"dcgan-train-{current()}.tgz",
        f"dcgan-train-{current()}.cdx.json",
        f"dcgan-train-{current()}-licences.md",
    }
    bill = tmp_path / "one" / f"dcgan-train-{current()}.cdx.json"
    check = (
        "import sys; from cyclonedx.schema import SchemaVersion;"
        "from cyclonedx.validation.json import JsonStrictValidator as Validator;"
        "sys.exit(Validator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))"
    )
    done = subprocess.run(
        [dist.TOOLS / "python", "-c", check, bill], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    locked = re.findall(
        r"^([\w.-]+)(?:\[.*?\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    components = json.loads(bill.read_text())["components"]
    assert sorted((each["name"], each["version"]) for each in components) == sorted(locked)
    assert all(each["licenses"] and each["externalReferences"][0]["hashes"] for each in components)
