"""The client of Ray's job API: the upload, a log whose connection breaks, the errors."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import job
from job.config.errors import ConfigError
from job.config.load import load_run
from job.launch.job_client import ENTRYPOINT, JobClient
from tests.servers.scripted_ray import Job, ScriptedRay, scripted_ray
from tests.servers.scripted_s3 import Answer, scripted_s3

OVERRIDES = ("uri=s3://b/first", "data.uri=s3://b/data", "checkpoints.grace_seconds=100.5")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedRay]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")  # the client's address wins
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    with scripted_ray() as started:
        yield started


def test_the_configuration_and_the_program_are_uploaded_and_nothing_else(
    ray: ScriptedRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "job"
    shutil.copytree(Path(job.__file__).parent, installed)
    for folder in (installed, installed / "config"):
        (folder / "__pycache__").mkdir(exist_ok=True)
        (folder / "__pycache__" / "spec.cpython-311.pyc").write_bytes(b"byte code")
    monkeypatch.setattr(job, "__file__", str(installed / "__init__.py"))
    spec = load_run("fashion", overrides=OVERRIDES)
    JobClient(ray.url).submit(spec, "first")
    configuration, program = sorted(ray.files(), key=len)
    assert set(configuration) == {"run.yaml"}
    (tmp_path / "run.yaml").write_bytes(configuration["run.yaml"])
    assert load_run(path=tmp_path / "run.yaml") == spec
    assert {"job/__init__.py", "job/__main__.py", "job/config/presets/fashion.yaml"} <= set(program)
    assert {name for name in program if not name.startswith("job/") or "__pycache__" in name} == (
        set()
    )
    request = ray.jobs["first"].request
    assert request["entrypoint"] == ENTRYPOINT == "python -m job train --config run.yaml"
    assert request["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "136"}
    assert all(uri.startswith("gcs://") for uri in request["runtime_env"]["py_modules"])


@pytest.mark.slow
def test_a_new_head_node_is_asked_again(ray: ScriptedRay) -> None:
    ray.num_without_agent = 2
    JobClient(ray.url).submit(load_run("fashion", overrides=OVERRIDES), "first")
    assert (ray.num_without_agent, list(ray.jobs)) == (0, ["first"])


@pytest.mark.slow
@pytest.mark.parametrize("has_ended", [False, True])
def test_a_log_is_shown_once_and_in_whole_lines_although_its_connection_breaks(
    ray: ScriptedRay, has_ended: bool
) -> None:
    ray.jobs["first"] = Job(["one\ntw", "o\n", "three\nlast"], breaks_after=1, has_ended=has_ended)
    lines: list[str] = []
    found = JobClient(ray.url).follow("first", lines.append)
    assert lines == ["one", "two", "three", "last"]
    assert ray.jobs["first"].num_connections == 2
    assert (found.status, found.exit_code, found.has_ended) == ("succeeded", 0, True)


@pytest.mark.slow
def test_a_log_whose_end_cannot_be_read(ray: ScriptedRay) -> None:
    ray.jobs["first"] = Job(["one\n", "two\n"], breaks_after=1, num_breaks=2, has_ended=True)
    lines: list[str] = []
    JobClient(ray.url).follow("first", lines.append)
    assert lines[0] == "one"
    assert lines[1].startswith("[the rest of the log cannot be read: WebSocket connection closed")


def test_only_submitted_jobs_are_listed_oldest_first(ray: ScriptedRay) -> None:
    ray.jobs = {
        "second": Job([], start_time=2000),
        "driver": Job([], type="DRIVER"),
        "first": Job([], start_time=1000),
    }
    assert [found.id for found in JobClient(ray.url).jobs()] == ["first", "second"]


def test_an_id_with_a_slash_stays_an_id(ray: ScriptedRay) -> None:
    ray.jobs["a/b c"] = Job(["one\n"])
    client = JobClient(ray.url)
    assert client.log("a/b c") == "one\n"
    for wrong in ("", ".", ".."):
        with pytest.raises(ConfigError, match="expected one that `dcgan-train jobs list` shows"):
            client.job(wrong)
    with pytest.raises(ConfigError, match=r"\.\./jobs: no such job at http"):
        client.job("../jobs")


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (401, "Unauthorized: Missing authentication token", "expected the cluster's token: set"),
        (403, "Forbidden: Invalid authentication token", "Invalid authentication token; expected"),
        (404, "not here", "not as the dashboard of a Ray cluster"),
        (200, "<html>welcome</html>", "not as the dashboard of a Ray cluster"),
        (200, '{"version": 1}', "not as the dashboard of a Ray cluster"),
    ],
)
def test_a_server_that_refuses_or_is_another_one(
    ray: ScriptedRay, status: int, text: str, message: str
) -> None:
    ray.status, ray.text = status, text
    with pytest.raises(ConfigError, match=message):
        JobClient(ray.url)


def test_an_error_of_the_server_is_its_last_line(ray: ScriptedRay) -> None:
    client = JobClient(ray.url)
    ray.status, ray.text = 500, "Traceback:\n  File x\nValueError: first already exists.\n."
    with pytest.raises(ConfigError, match=r"with status 500: ValueError: first already exists\.$"):
        client.jobs()


def test_a_cluster_that_goes_away_while_a_job_is_followed(ray: ScriptedRay) -> None:
    ray.jobs["first"] = Job(["one\n"], status=None)
    client = JobClient(ray.url)

    def go_away(line: str) -> None:
        ray.jobs["first"].status, ray.status, ray.text = "FAILED", 502, "bad gateway"

    with pytest.raises(ConfigError, match=r"first may still run, but .*status 502: bad gateway"):
        client.follow("first", go_away)


def test_a_port_without_a_server(ray: ScriptedRay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ConfigError, match="no Ray dashboard responds; expected that of a running"):
        JobClient(address)
    with (
        scripted_s3([Answer(None)]) as breaking,
        pytest.raises(ConfigError, match="no Ray dashboard responds"),
    ):
        JobClient(breaking.endpoint_url)
