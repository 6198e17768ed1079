"""Get a Python process that has its libraries loaded from a fork server, else start Python.

    python -I -S job/launch/fork_client.py SOCKET SCRIPT ARGUMENT...

SCRIPT runs as in ``python SCRIPT ARGUMENT...``, with the environment, working directory, streams,
signal mask, process group, priority and open files of this process, which ends when it has ended.
Without a server this process itself runs it. Loads no package, to be quick.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping

START_SECONDS = 30.0  # Ray waits a minute for a process
OOM_SCORE = "/proc/self/oom_score_adj"  # Ray raises it, so that the kernel ends a worker first


def main() -> None:
    address, *arguments = sys.argv[1:]
    if not has_run(address, arguments):
        os.execv(sys.executable, [sys.executable, *arguments])


def has_run(address: str, arguments: list[str]) -> bool:
    """Return True when the server's process has ended, False if it started none."""
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "blocked_signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "group": os.getpgrp(),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    with contextlib.suppress(OSError), open(OOM_SCORE) as score:
        request["oom_score"] = score.read()
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.settimeout(START_SECONDS)
            server.connect(address)
            send(server, request)
            is_started = bool(server.recv(1))
        except OSError:
            return False
        server.settimeout(None)
        with contextlib.suppress(OSError):
            server.recv(1)  # nothing comes: the process holds its end while it lives
    return is_started


def send(server: socket.socket, request: Mapping[str, object]) -> None:
    """Send a request, a line of JSON, and with it the standard streams of this process."""
    socket.send_fds(server, [b" "], [0, 1, 2])
    server.sendall(json.dumps(request).encode() + b"\n")


if __name__ == "__main__":
    main()
