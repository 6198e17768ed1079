"""Runs on a real MLflow server, read back by its REST API, and on servers that fail."""

import http.server
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from job.run.layout import TRACKING
from job.run.stored_json import as_object
from tests.launch.program import newest_step, state
from tests.servers.ports import free_port
from tests.servers.prometheus import wait_for
from tests.tracking.mlflow_server import MlflowServer, mlflow_server
from tests.tracking.runs import EVERY, STEPS, pack, training

pytestmark = [pytest.mark.training, pytest.mark.slow, pytest.mark.live]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def untracked(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without tracking, to compare weights with."""
    folder = tmp_path_factory.mktemp("untracked") / "run"
    with training(data, folder, {}) as program:
        assert program.exit_code() == 0, program.output
    return folder


def last_step(run: Path) -> int:
    """Return the last step that the run folder lists as sent."""
    path = run / TRACKING
    stored = json.loads(path.read_text()) if path.exists() else {}
    return int(as_object(stored.get("last_steps")).get("metrics", 0))


def unequal(run: Path, other: Path) -> list[str]:
    found, expected = state(run, STEPS), state(other, STEPS)
    assert found.keys() == expected.keys()
    return [name for name in expected if expected[name].tobytes() != found[name].tobytes()]


def test_a_killed_run_continues_and_has_each_step_once(
    data: Path, untracked: Path, tmp_path: Path, tracking_packages: str
) -> None:
    run = tmp_path / "garments"
    with mlflow_server(tmp_path / "server", tracking_packages) as server:
        settings = {"tracking__service": "mlflow", "tracking__project": "tests of ours"}
        env = {"MLFLOW_TRACKING_URI": server.url}
        with training(data, run, env, **settings) as program:
            # Killed between checkpoints: steps that were sent are trained again.
            program.wait_until(lambda: last_step(run) > newest_step(run) > 0)
            program.send(signal.SIGKILL)
            program.exit_code()
        killed_at, resumed_at = last_step(run), newest_step(run)
        assert resumed_at < killed_at < STEPS
        run_id = json.loads((run / TRACKING).read_text())["run_id"]
        assert server.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "RUNNING"
        with training(data, run, env, **settings) as program:
            assert program.exit_code() == 0, program.output
        found = server.get("runs/get", run_id=run_id)["run"]
        check_read_back(server, found, run, killed_at)
    assert unequal(run, untracked) == []


def check_read_back(server: MlflowServer, found: dict, run: Path, killed_at: int) -> None:
    """Compare what the server has of a finished run with its folder."""
    run_id = found["info"]["run_id"]
    assert (found["info"]["status"], found["info"]["run_name"]) == ("FINISHED", "garments")
    experiment = server.get("experiments/get", experiment_id=found["info"]["experiment_id"])
    assert experiment["experiment"]["name"] == "tests of ours"
    params, tags = (
        {each["key"]: each["value"] for each in found["data"][name]} for name in ("params", "tags")
    )
    assert (params["uri"], params["training.steps"]) == (str(run), str(STEPS))
    assert params["model.generator.filters"] == "[8]"
    assert tags["run_folder"] == str(run)
    assert tags["newest_checkpoint"].endswith(f"/checkpoints/step-{STEPS:09d}")
    history = {
        name: server.get("metrics/get-history", run_id=run_id, metric_key=name)["metrics"]
        for name in ("generator_loss", "discriminator_accuracy", "images_per_second")
    }
    steps = [int(point["step"]) for point in history["generator_loss"]]
    assert steps == sorted(set(steps))
    assert steps[0] == 2
    assert steps[-1] == STEPS
    assert any(step > killed_at for step in steps[:-1])
    assert all([int(point["step"]) for point in points] == steps for points in history.values())
    files = server.get("artifacts/list", run_id=run_id, path="images")["files"]
    grids = [int(file["path"].split("+")[2]) for file in files if file["path"].endswith(".png")]
    assert sorted(grids) == list(range(0, STEPS + 1, EVERY))


@contextmanager
def refusing() -> Iterator[str]:
    """Yield the address of a port on which nothing listens."""
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def hanging() -> Iterator[str]:
    """Yield the address of a server that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def failing() -> Iterator[str]:
    """Yield the address of a server that answers each request with status 500."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        do_POST = do_GET

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.usefixtures("tracking_packages")
@pytest.mark.parametrize(
    ("service", "address"),
    [
        ("mlflow", refusing),
        ("mlflow", hanging),
        ("mlflow", failing),
        ("wandb", refusing),
        ("wandb", hanging),
    ],
)
def test_a_service_that_fails_changes_no_bit(
    service: str, address, data: Path, untracked: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    env = {"WANDB_API_KEY": "0" * 40, "WANDB_DIR": str(tmp_path)}
    with address() as url:
        settings = {"tracking__service": service, "tracking__uri": url}
        with training(data, run, env, **settings) as program:
            assert program.exit_code() == 0, program.output
    assert unequal(run, untracked) == []
    assert program.output.count("still trying") <= 1
    assert "records were not sent to" in program.output or "did not take the last" in program.output


def test_a_server_that_dies_in_the_middle_changes_no_bit(
    data: Path, untracked: Path, tmp_path: Path, tracking_packages: str
) -> None:
    run = tmp_path / "run"
    with mlflow_server(tmp_path / "server", tracking_packages) as server:
        settings = {"tracking__service": "mlflow", "tracking__uri": server.url}
        with training(data, run, {}, **settings) as program:
            program.wait_until(lambda: last_step(run) > 2)
            os.killpg(server.pid, signal.SIGKILL)
            killed_at = last_step(run)
            assert program.exit_code() == 0, program.output
    assert killed_at < STEPS
    assert program.output.count("the run is not tracked by mlflow, still trying: ") == 1
    assert unequal(run, untracked) == []
    wait_for("the summary", lambda: (run / "summary.json").exists(), 1)
