"""buildah and podman with separate settings, storage and scratch space below a folder.

tools = Containers(folder)
tools.run("buildah", "images")
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("buildah", "podman", "runc")  # Debian's packages have the same names


def require_builder(*programs: str) -> None:
    """Skip if images cannot be built, or fail if DCGAN_REQUIRE_TOOLS=1 (CI) and DCGAN_E2E=1."""
    missing = [program for program in programs or PROGRAMS if not shutil.which(program)]
    if not missing and os.geteuid() == 0:
        return
    found = f"{', '.join(missing)} not on PATH" if missing else "not root"
    text = (
        f"no images can be built here ({found}); expected root, and Debian's packages"
        f" {', '.join(PROGRAMS)}"
    )
    must = os.environ.get("DCGAN_REQUIRE_TOOLS") == os.environ.get("DCGAN_E2E") == "1"
    pytest.fail(text) if must else pytest.skip(text)


@dataclass(frozen=True)
class Containers:
    """``folder`` holds everything and can be removed when nothing runs."""

    folder: Path

    def env(self) -> dict[str, str]:
        """Write the settings; each time, so that an old storage gets the current ones."""
        for name in ("store", "run", "scratch"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write("containers.conf", _containers_conf())
        self._write("storage.conf", self._storage_conf(self._driver()))
        return self._variables()

    def run(self, *command: str | Path, quiet: bool = True, cwd: Path | None = None) -> str:
        """Return the command's output, or raise ``RuntimeError`` with its last lines.

        ``quiet=False`` shows all of it on standard error.
        """
        done = subprocess.run(
            [str(part) for part in command],
            env=os.environ | self.env(),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else sys.stderr,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stdout or "")[-2000:] + (done.stderr or "")[-4000:]
            raise RuntimeError(
                f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}"
            )
        return done.stdout or ""

    def has_image(self, name: str) -> bool:
        """Return True if the storage has it."""
        command = ["buildah", "inspect", "--type", "image", name]
        return (
            subprocess.run(
                command, env=os.environ | self.env(), capture_output=True, check=False
            ).returncode
            == 0
        )

    def _variables(self) -> dict[str, str]:
        return {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TMPDIR": str(
                self.folder / "scratch"
            ),  # buildah's cache mounts lie there too, so pip's downloads are kept
            "BUILDAH_ISOLATION": "chroot",
        }

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

    def _storage_conf(self, driver: str) -> str:
        return (
            f'[storage]\ndriver = "{driver}"\n'
            f'graphroot = "{self.folder / "store"}"\nrunroot = "{self.folder / "run"}"\n'
        )

    def _driver(self) -> str:
        """Return the storage's driver; for a new one overlay if possible, else vfs (copies)."""
        made = self.folder / "storage.conf"
        if made.exists():
            return made.read_text().split('driver = "')[1].split('"')[0]
        made.write_text(self._storage_conf("overlay"))
        probe = subprocess.run(
            ["buildah", "info"],
            env=os.environ | self._variables(),
            capture_output=True,
            check=False,
        )
        made.unlink()
        if probe.returncode == 0:
            return "overlay"
        shutil.rmtree(self.folder / "store")
        (self.folder / "store").mkdir()
        return "vfs"


def _containers_conf() -> str:
    """Use runc, which also works with cgroups v1, and no limit above this process's."""
    limits = [
        f"{name}={_limit(number)}:{_limit(number)}"
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    ]
    containers = f"[containers]\ndefault_ulimits = {json.dumps(limits)}\n"
    return (
        containers
        + '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )


def _limit(number: int, most: int = 4096) -> int:
    """Return low limits: buildah (1.28) lowers its hard ones and cannot raise those of commands."""
    hard = resource.getrlimit(number)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)
