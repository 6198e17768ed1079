"""A cluster that answers: how kubectl and helm reach it, and images get into it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster.configs import CONTAINERD_SOCKET
from tests.servers.tools import BIN


@dataclass(frozen=True)
class Cluster:
    """A cluster that answers. ``first_process`` is that of a node made here, else None."""

    kubeconfig: Path
    first_process: int | None = None

    @property
    def is_own(self) -> bool:
        """Return whether it was made here: it is empty, and ends with the block."""
        return self.first_process is not None

    def env(self) -> dict[str, str]:
        """The variables with which kubectl and helm reach it."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def kubectl(self, *arguments: str | Path, stdin: str = "", timeout: float = 120.0) -> str:
        """Return its output; raise ``RuntimeError`` with its message if it fails."""
        command = ["kubectl", *map(str, arguments)]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=os.environ | self.env(),
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    @property
    def enter(self) -> list[str]:
        """Return the prefix of a command that runs on the node, with this machine's files."""
        assert self.first_process is not None, "only on a node that was made here"
        return [
            "nsenter",
            "--target",
            str(self.first_process),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
        ]

    def load_image(self, archive: Path) -> None:
        """Load an archive of OCI or `docker save`; pods need a policy other than Always."""
        ctr = [
            "ctr",
            "--address",
            str(CONTAINERD_SOCKET),
            "--namespace",
            "k8s.io",
            "image",
            "import",
            str(archive.resolve()),
        ]
        done = subprocess.run([*self.enter, *ctr], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{archive} was not imported: {done.stderr.strip()}")
