"""The Dockerfile's text, without a builder; ``test_image.py`` builds and runs it."""

import re
import tomllib

import pytest

from tests.container_image.instructions import DOCKERFILE, Instruction, instructions, lineage

ROOT = DOCKERFILE.parent
TARGETS = ("cpu", "gpu")
SECRET_NAME = re.compile(
    r"secret|password|passwd|token|credential|access_?key|api_?key", re.IGNORECASE
)


@pytest.fixture(scope="module")
def found() -> list[Instruction]:
    return instructions(DOCKERFILE.read_text())


def arguments(found: list[Instruction], name: str, *stages: str) -> list[str]:
    return [
        item.arguments
        for item in found
        if item.name == name and (not stages or item.stage in stages)
    ]


def test_base_is_pinned_by_tag_and_digest(found):
    bases = [item.arguments for item in found if item.name == "ARG" and not item.stage]
    assert len(bases) == 1
    assert re.fullmatch(
        r"PYTHON_IMAGE=docker\.io/library/python:3\.1[1-3]\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}",
        bases[0],
    )


def test_every_stage_comes_from_the_base(found):
    stages = [item.stage for item in found if item.name == "FROM"]
    assert len(set(stages)) == len(stages)
    for stage in stages:
        assert lineage(found, stage)[-1] == "${PYTHON_IMAGE}"


def test_there_is_a_target_for_cpu_and_one_for_gpu_and_cpu_is_what_no_target_makes(found):
    stages = [item.stage for item in found if item.name == "FROM"]
    assert set(TARGETS) <= set(stages)
    assert stages[-1] == "cpu"


@pytest.mark.parametrize("target", TARGETS)
def test_nobody_is_root_in_it(found, target):
    users = [
        user
        for stage in reversed(lineage(found, target))
        for user in arguments(found, "USER", stage)
    ]
    assert users[-1] == "10001:10001"


@pytest.mark.parametrize("target", TARGETS)
def test_it_has_no_entrypoint_no_volume_and_no_health_check(found, target):
    stages = lineage(found, target)
    assert not arguments(found, "ENTRYPOINT", *stages)
    assert not arguments(found, "VOLUME", *stages)
    assert arguments(found, "HEALTHCHECK", *stages) == ["NONE"]
    assert arguments(found, "CMD", *stages) == ['["dcgan-train", "--help"]']


@pytest.mark.parametrize("target", TARGETS)
def test_it_takes_files_only_from_our_own_stages(found, target):
    stages = {item.stage for item in found if item.name == "FROM"}
    copies = arguments(found, "COPY", target)
    assert copies
    for copy in copies:
        source = re.match(r"--from=(\S+) ", copy)
        assert source is not None
        assert source[1] in stages


def test_nothing_is_fetched_but_by_pip(found):
    assert not arguments(found, "ADD")
    for command in arguments(found, "RUN"):
        assert not re.search(
            r"https?://|\bcurl\b|\bwget\b|\bgit\b|\bapt(-get)?\b|\| *(ba)?sh\b", command
        ), command


def test_pip_installs_only_hashed_wheels_of_the_locks_or_the_package_offline(found):
    installs = [command for command in arguments(found, "RUN") if " pip " in command]
    locks = []
    for command in installs:
        if "--requirement" in command:
            assert "--require-hashes --only-binary :all:" in command
            locks.append(command.split("--requirement ")[1].split()[0])
        else:
            assert "--no-deps" in command
            assert "--no-build-isolation" in command
            assert "--no-index" in command
    assert locks == ["requirements.lock", "requirements-gpu.lock"]
    assert len(installs) == 3


def test_no_secret_can_be_passed_in(found):
    """A build argument or a variable stays in the image's history; a mounted secret does not."""
    for item in found:
        if item.name in ("ARG", "ENV", "LABEL"):
            assert not SECRET_NAME.search(item.arguments), item
    mounts = [
        mount
        for command in arguments(found, "RUN")
        for mount in re.findall(r"--mount=(\S+)", command)
    ]
    assert {mount.split(",")[0] for mount in mounts} == {"type=cache", "type=secret"}


@pytest.mark.parametrize("target", TARGETS)
def test_labels_and_their_arguments(found, target):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert arguments(found, "ARG", target) == [
        f"VERSION={version}",
        "REVISION=unknown",
        "SOURCE=unknown",
        "LICENSES=Apache-2.0",
    ]
    (labels,) = arguments(found, "LABEL", target)
    for key in ("title", "description", "version", "revision", "source", "licenses"):
        assert f"org.opencontainers.image.{key}=" in labels


def test_the_gpu_image_shows_no_gpus_to_pods_that_request_none(found):
    assert "NVIDIA_VISIBLE_DEVICES" not in " ".join(arguments(found, "ENV"))


def test_the_locks_agree_on_all_but_nvidia():
    """The GPU stage builds on the CPU stage; another version would be in the image twice."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[A-Za-z0-9_.-]+==\S+", (ROOT / name).read_text(), re.MULTILINE))

    cpu, gpu = pins("requirements.lock"), pins("requirements-gpu.lock")
    assert cpu <= gpu
    assert gpu - cpu
    assert all(pin.startswith("nvidia-") for pin in gpu - cpu)
