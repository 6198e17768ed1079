"""Ask the training on this host to stop, and wait until it has: the head pod's preStop hook.

    python stop.py SECONDS

The driver saves a last checkpoint on SIGTERM and ends with status 143, which KubeRay takes for a failure and answers with a new cluster. `ray
job stop` would end it as STOPPED, which KubeRay takes for the end of the RayJob. Ends at once where nothing trains, and after SECONDS at the latest.
"""

import contextlib
import os
import pathlib
import signal
import sys
import time

PROC = pathlib.Path("/proc")


def drivers() -> list[int]:
    """Process ids of ``dcgan-train train`` as Python runs it: interpreter, script, command."""
    found = []
    for folder in PROC.iterdir():
        try:
            words = (
                folder.joinpath("cmdline").read_bytes().split(b"\0")
                if folder.name.isdigit()
                else []
            )
        except OSError:  # it has ended
            continue
        if len(words) > 2 and words[1].endswith(b"/dcgan-train") and words[2] == b"train":
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
