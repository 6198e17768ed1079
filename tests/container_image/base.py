"""A substitute for the Dockerfile's base without a registry: the same Debian and minor Python.

python -m tests.container_image.base

Unlike in `python:3.13-slim-trixie`, Python is Debian's build and patch release, in /usr/bin with
links in /usr/local/bin.
Good for trying the Dockerfile; nothing to publish. Needs root, buildah and debootstrap.
"""

import os
import sys
from pathlib import Path

from tests.container_image.containers import Containers

NAME = "localhost/dcgan-train-python:3.13-slim-trixie"
SUITE = "trixie"
MIRROR = (
    "http://deb.debian.org/debian"  # signed: debootstrap checks the release file with Debian's keys
)
# As in the real one: certificates, time zones, protocol names, and a pip.
PACKAGES = ("ca-certificates", "netbase", "tzdata", "python3", "python3-venv", "python3-pip")
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
REMOVED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)


def stand_in(tools: Containers) -> str:
    """The stand-in's name, made when the storage has none: about a minute."""
    if tools.has_image(NAME):
        return NAME
    container = tools.run("buildah", "from", "scratch").strip()
    try:
        root = Path(tools.run("buildah", "mount", container).strip())
        _install(tools, root)
        tools.run("buildah", "unmount", container)
        tools.run(
            "buildah",
            "config",
            "--env",
            f"PATH={PATH}",
            "--env",
            "LANG=C.UTF-8",
            "--cmd",
            "python3",
            container,
        )
        tools.run("buildah", "commit", "--quiet", container, NAME)
    finally:
        tools.run("buildah", "rm", container)
    return NAME


def _install(tools: Containers, root: Path) -> None:
    mirror = os.environ.get("DEBIAN_MIRROR", MIRROR)
    tools.run(
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        SUITE,
        root,
        mirror,
        quiet=False,
    )
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    tools.run("find", *(root / name for name in REMOVED), "-mindepth", "1", "-delete")


if __name__ == "__main__":
    from tests.container_image.build import CONTAINERS

    sys.stdout.write(stand_in(CONTAINERS) + "\n")
