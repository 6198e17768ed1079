"""Run a command in the built image like the chart's pods: *restricted*, read-only, uid 10001.

run_in(image, "dcgan-train", "--help").stdout

Writable are /tmp and the home folder, both empty as with the chart's volumes, and ``writable``.
"""

import os
import subprocess
from pathlib import Path

from tests.container_image.build import CONTAINERS, Image

LIMITS = (
    *(
        "--read-only",
        "--read-only-tmpfs=false",
        "--tmpfs=/tmp:rw,mode=1777",
        "--tmpfs=/home/dcgan:rw,mode=1777,notmpcopyup",
    ),
    *("--cap-drop=all", "--security-opt=no-new-privileges", "--shm-size=1g"),
)


def run_in(
    image: Image,
    *command: str,
    network: str = "none",
    home: bool = True,
    writable: Path | None = None,
    timeout: float = 300.0,
) -> subprocess.CompletedProcess[str]:
    """Return the finished command; it may have failed.

    ``home=False`` makes the home folder read-only too; ``writable`` is mounted at /work.
    """
    limits = [limit for limit in LIMITS if home or "/home" not in limit]
    mounts = [f"--volume={writable}:/work:rw"] if writable else []
    podman = [
        "podman",
        "run",
        "--rm",
        "--pull=never",
        "--no-healthcheck",
        f"--network={network}",
        *limits,
        *mounts,
        image.name,
    ]
    return subprocess.run(
        [*podman, *command],
        env=os.environ | CONTAINERS.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
