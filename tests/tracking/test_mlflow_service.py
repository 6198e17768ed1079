"""Runs on a real MLflow server, read back by its REST API, and on servers that fail."""

import http.server
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.launch.program import state
from tests.servers.ports import free_port
from tests.tracking.mlflow_server import mlflow_server
from tests.tracking.runs import (
    EVERY,
    STEPS,
    check_steps,
    kill_and_resume,
    last_step,
    pack,
    run_id,
    training,
)

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


def unequal(run: Path, other: Path) -> list[str]:
    found, expected = state(run, STEPS), state(other, STEPS)
    assert found.keys() == expected.keys()
    return [name for name in expected if expected[name].tobytes() != found[name].tobytes()]


def test_a_killed_run_continues_and_has_each_step_once(
    data: Path, tmp_path: Path, tracking_packages: str
) -> None:
    run = tmp_path / "garments"
    settings = {"tracking__service": "mlflow", "tracking__project": "tests of runs"}
    with mlflow_server(tmp_path / "server", tracking_packages) as server:
        course = kill_and_resume(data, run, {"MLFLOW_TRACKING_URI": server.url}, **settings)
        found = server.get("runs/get", run_id=run_id(run))["run"]
        assert (found["info"]["status"], found["info"]["run_name"]) == ("FINISHED", "garments")
        experiment = server.get("experiments/get", experiment_id=found["info"]["experiment_id"])
        assert experiment["experiment"]["name"] == "tests of runs"
        params = {each["key"]: each["value"] for each in found["data"]["params"]}
        assert (params["uri"], params["model.generator.filters"]) == (str(run), "[8]")
        assert params["training.steps"] == "100000"  # of the first attempt: MLflow keeps the first
        tags = {each["key"]: each["value"] for each in found["data"]["tags"]}
        assert tags["run_folder"] == str(run)
        assert tags["newest_checkpoint"] == f"file://{run}/checkpoints/step-{course.steps:09d}"
        for name in ("generator_loss", "discriminator_accuracy", "images_per_second"):
            history = server.get("metrics/get-history", run_id=run_id(run), metric_key=name)
            check_steps([int(point["step"]) for point in history["metrics"]], course)
        files = server.get("artifacts/list", run_id=run_id(run), path="images")["files"]
        grids = [int(file["path"].split("+")[2]) for file in files if file["path"].endswith("png")]
        assert sorted(grids) == list(range(0, course.steps + 1, EVERY))


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
        ("wandb", hanging),
        ("trackio", refusing),
    ],
)
def test_a_service_that_fails_changes_no_bit(
    service: str, address, data: Path, untracked: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    env = {"WANDB_API_KEY": "0" * 40, "WANDB_DIR": str(tmp_path)}
    env |= {"TRACKIO_WRITE_TOKEN": "0" * 40, "TRACKIO_DIR": str(tmp_path)}
    with address() as url:
        settings = {"tracking__service": service, "tracking__uri": url}
        with training(data, run, env, **settings) as program:
            assert program.exit_code() == 0, program.output
    assert unequal(run, untracked) == []
    assert program.output.count("still trying") <= 1
    # The last is Trackio's, which keeps on this machine what it could not send.
    notes = ("records were not sent to", "did not take the last", "could not be sent to the remote")
    assert any(note in program.output for note in notes), program.output


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
