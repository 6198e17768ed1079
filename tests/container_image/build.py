"""Builds the image from the Dockerfile, once for what it is made of, and leaves it as an archive.

python -m tests.container_image.build              .tools/image/dcgan-train-cpu-<hash>.tar
python -m tests.container_image.build --target gpu --out gpu.tar
                                                   the other target; a hard link if possible
ctr -n k8s.io images import FILE                   docker.io/library/dcgan-train:<version>

The base is DCGAN_PYTHON_IMAGE if that is set, else the Dockerfile's if a registry has it, else the
substitute of tests/container_image/base.py. Needs root and buildah; the substitute needs
debootstrap. A build takes minutes, an unchanged one a second.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.container_image import base
from tests.container_image.containers import Containers
from tests.container_image.instructions import DOCKERFILE, instructions
from tests.container_image.pip_settings import pip_secrets

ROOT = DOCKERFILE.parent
FOLDER = ROOT / ".tools" / "image"
CONTAINERS = Containers(FOLDER)
INPUTS = (
    "Dockerfile",
    ".dockerignore",
    "requirements.lock",
    "requirements-gpu.lock",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
PULL_SECONDS = 300


class Image(NamedTuple):
    """``archive`` is in Docker's format, which docker, podman and containerd load."""

    name: str
    archive: Path


def image_name(target: str) -> str:
    """Return the chart's default image, with containerd's default registry."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"docker.io/library/dcgan-train:{version}{'' if target == 'cpu' else f'-{target}'}"


def build(target: str = "cpu") -> Image:
    """Return the archive of ``target``, built if it does not exist.

    Raise ``RuntimeError`` with the builder's last lines if it fails.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of the tests would build the same twice
        return _build_once(target)


def _build_once(target: str) -> Image:
    wanted = os.environ.get("DCGAN_PYTHON_IMAGE", "")
    name, stem = image_name(target), f"dcgan-train-{target}-"
    archive = FOLDER / f"{stem}{_inputs_hash(wanted, _files())}.tar"
    if archive.exists():
        return Image(name, archive)
    started = time.monotonic()
    _forget_other_layers(_layers_key(wanted))
    python_image = wanted or _base_image()
    _say(f"building {name} on {python_image}")
    _build(target, name, python_image)
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    CONTAINERS.run("buildah", "push", "--quiet", name, f"docker-archive:{part}:{name}")
    for old in FOLDER.glob(f"{stem}*.tar"):
        old.unlink()
    part.rename(archive)
    _say(
        f"built {name} in {time.monotonic() - started:.0f} s;"
        f" {archive.stat().st_size / 1e6:.0f} MB in {archive.name}"
    )
    return Image(name, archive)


def load(image: Image) -> None:
    """Load it into the storage of tests/container_image/run.py, unless it is there."""
    if not CONTAINERS.has_image(image.name):
        CONTAINERS.run("buildah", "pull", "--quiet", f"docker-archive:{image.archive}")


def _build(target: str, name: str, python_image: str) -> None:
    with pip_secrets() as secrets:
        CONTAINERS.run(
            *(
                "buildah",
                "bud",
                "--layers",
                "--pull-never",
                "--network",
                "host",
                "--format",
                "docker",
            ),
            *(
                "--target",
                target,
                "--tag",
                name,
                "--build-arg",
                f"PYTHON_IMAGE={python_image}",
                "--build-arg",
                f"REVISION={_revision()}",
            ),
            *(f"--secret={secret}" for secret in secrets),
            ".",
            quiet=False,
            cwd=ROOT,
        )


def _base_image() -> str:
    """The Dockerfile's own base where it is here or can be pulled, else the stand-in."""
    pinned = next(
        item.arguments for item in instructions(DOCKERFILE.read_text()) if item.name == "ARG"
    ).partition("=")[2]
    if CONTAINERS.has_image(pinned):
        return pinned
    pull = ["timeout", str(PULL_SECONDS), "buildah", "pull", "--quiet", pinned]
    done = subprocess.run(
        pull, env=os.environ | CONTAINERS.env(), capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return pinned
    _say(
        f"{pinned} cannot be pulled ({(done.stderr.strip().splitlines() or ['no answer'])[-1]});"
        " making a stand-in from Debian's packages"
    )
    return base.stand_in(CONTAINERS)


def _forget_other_layers(key: str) -> None:
    """Remove layers that no build will use again: all but those of ``key``."""
    made = FOLDER / "layers"
    if made.exists() and made.read_text() != key:
        CONTAINERS.run("buildah", "rm", "--all")
        CONTAINERS.run("buildah", "rmi", "--all", "--force")
    made.write_text(key)


def _layers_key(python_image: str) -> str:
    """Return a hash of the inputs of the large layers, without the Dockerfile's comments."""
    locks = [ROOT / "requirements.lock", ROOT / "requirements-gpu.lock"]
    return _inputs_hash(repr((python_image, instructions(DOCKERFILE.read_text()))), locks)


def _files() -> list[Path]:
    """All that a build reads."""
    code = [
        path
        for path in (ROOT / "job").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return [*code, *(ROOT / name for name in INPUTS)]


def _inputs_hash(text: str, files: Iterable[Path]) -> str:
    """Return a hash of ``text`` and of the files' names and bytes."""
    digest = hashlib.sha256(text.encode())
    for path in sorted(files):
        digest.update(
            f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()[:16]


def _revision() -> str:
    """The commit, for the label; a checkout without git has none."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _say(text: str) -> None:
    sys.stderr.write(f"image: {text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.container_image.build", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--target", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument(
        "--out", type=Path, help="where to put the archive; without it, it stays in .tools/image"
    )
    options = parser.parse_args()
    image = build(options.target)
    if options.out:
        options.out.unlink(missing_ok=True)
        try:
            options.out.hardlink_to(image.archive)
        except OSError:  # another file system
            shutil.copyfile(image.archive, options.out)
    sys.stdout.write(f"{image.name} {options.out or image.archive}\n")


if __name__ == "__main__":
    main()
