"""Small file systems, for tests of full and read-only disks."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.tools import skip_or_fail


@contextmanager
def mounted(folder: Path, *kind: str) -> Iterator[Path]:
    """Mount a file system at ``folder``; skip the test if this user may not mount.

    ``kind`` is the type and options of ``mount -t``.
    """
    folder.mkdir()
    done = subprocess.run(["mount", "-t", *kind, "none", folder], capture_output=True, check=False)
    if done.returncode:
        skip_or_fail(f"a mounted file system needs root: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
