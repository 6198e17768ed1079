"""Small file systems of their own, for tests of full and read-only disks."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *kind: str) -> Iterator[Path]:
    """A file system of ``kind`` (type and options of ``mount -t``) at ``folder``; skips the test where this user may not mount."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", *kind, "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(
            f"a file system of its own needs root's right to mount: {done.stderr.decode().strip()}"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
