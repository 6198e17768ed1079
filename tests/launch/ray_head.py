"""A real ``ray start --head`` with token authentication, on free ports.

It is ended by process id, never by ``ray stop``, which would end every Ray of the machine.

with ray_head(folder) as head:
    subprocess.run(["ray", "job", "submit", "--address", head.dashboard, ...], env=head.env)
"""

import contextlib
import os
import secrets
import signal
import sys
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.launch.program import descendants, environment
from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.prometheus import http

BIN = Path(sys.executable).parent
# Ray's workers take ports from 10002 to 19999; what is given by hand must lie outside.
WORKER_PORTS = range(10002, 20000)


class RayHead(NamedTuple):
    """A running head with two CPUs. ``env`` holds the token, ``env_without_token`` does not."""

    address: str
    dashboard: str
    pid: int
    env: Mapping[str, str]
    env_without_token: Mapping[str, str]


@contextmanager
def ray_head(folder: Path) -> Iterator[RayHead]:
    """Start a head and its dashboard; ``folder`` needs a short path, for its Unix sockets."""
    token = folder / "auth_token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    bare = environment(
        folder,
        PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        RAY_AUTH_MODE="token",
        HOME=str(folder),
    )
    env = bare | {"RAY_AUTH_TOKEN_PATH": str(token)}
    port, dashboard_port, metrics_port, agent_port = (_free_port() for _ in range(4))
    command = [
        BIN / "ray",
        "start",
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        "--dashboard-host=127.0.0.1",
    ]
    command += [
        f"--dashboard-port={dashboard_port}",
        f"--metrics-export-port={metrics_port}",
        f"--temp-dir={folder}",
        "--num-cpus=2",
    ]
    # If another Ray has this port, this one takes no jobs and does not say why.
    command += [f"--dashboard-agent-listen-port={agent_port}"]
    command += ["--disable-usage-stats", f"--object-store-memory={128 * 2**20}"]
    dashboard = f"http://127.0.0.1:{dashboard_port}"
    with server_process(
        command, lambda: _answers(dashboard), folder / "head.log", env=env, ready_seconds=90
    ) as process:
        try:
            yield RayHead(f"127.0.0.1:{port}", dashboard, process.pid, env, bare)
        finally:
            # A submitted job has another session; all it started is still a descendant of the head.
            for started in (*descendants(process.pid), process):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(started.pid, signal.SIGKILL)


def _free_port() -> int:
    while (port := free_port()) in WORKER_PORTS:
        pass
    return port


def _answers(dashboard: str) -> bool:
    try:
        with http.open(f"{dashboard}/api/version", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # it is there, and wants the token
    except OSError:
        return False
