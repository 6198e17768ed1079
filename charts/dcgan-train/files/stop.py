"""Stop the training on this host and wait for its end: the head pod's preStop hook.

    python stop.py SECONDS

On SIGTERM the driver saves a last checkpoint and ends with status 143. KubeRay counts that as a
failure and starts a new cluster; after `ray job stop` it would count the RayJob as finished.
Returns at once if nothing trains, and after SECONDS at the latest.
"""

import contextlib
import os
import pathlib
import signal
import sys
import time

PROC = pathlib.Path("/proc")


def drivers() -> list[int]:
    """Return the process ids of ``dcgan-train train``: interpreter, script, command."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            command = folder.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if len(command) > 2 and command[1].endswith(b"/dcgan-train") and command[2] == b"train":
            found.append(int(folder.name))
    return found


def main() -> None:
    deadline = time.monotonic() + float(sys.argv[1])
    for pid in drivers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while drivers() and time.monotonic() < deadline:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
