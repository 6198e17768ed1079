"""A real MLflow tracking server on a free port, and its REST API.

with mlflow_server(tmp_path, packages) as server:
    server.get("runs/get", run_id="...")
"""

import json
import os
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.prometheus import http

READY_SECONDS = 120.0  # 15 on an idle machine: it makes the tables of its database first


class MlflowServer(NamedTuple):
    """A running server."""

    url: str
    pid: int

    def get(self, method: str, **parameters: object) -> dict[str, Any]:
        """Return the answer of ``/api/2.0/mlflow/METHOD``."""
        query = urllib.parse.urlencode(parameters)
        with http.open(f"{self.url}/api/2.0/mlflow/{method}?{query}", timeout=30) as answer:
            return dict(json.load(answer))


@contextmanager
def mlflow_server(folder: Path, packages: str) -> Iterator[MlflowServer]:
    """Run a server with its database and artifacts in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers=1", f"--port={port}"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db"]
    command += [f"--artifacts-destination={folder}/artifacts"]
    more = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    env = {**os.environ, "PYTHONPATH": packages, **more}
    log = folder / "server.log"
    with server_process(
        command, lambda: _answers(url), log, env=env, ready_seconds=READY_SECONDS
    ) as process:
        yield MlflowServer(url, process.pid)


def _answers(url: str) -> bool:
    try:
        with http.open(f"{url}/health", timeout=5):
            return True
    except OSError:
        return False
