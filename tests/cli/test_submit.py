"""``dcgan-train submit``: refused runs send nothing; the ids and the commands that are printed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.cli.submit import new_job_id
from tests.servers.scripted_ray import ScriptedRay, scripted_ray

RUN = ["--set", "uri=s3://b/runs/first", "--set", "data.uri=s3://b/data"]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedRay]:
    with scripted_ray() as running:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", running.url)
        yield running


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "uri is not set; expected the run folder"),
        (["--config", "none.yaml"], "none.yaml: cannot read the configuration"),
        ([*RUN, "--set", "training.stesp=3"], "training.stesp: unknown key; did you mean"),
        (
            [*RUN, "--set", "data.uri=packed"],
            "data.uri is packed, a path on this machine",
        ),
        ([*RUN, "--set", "data.uri=~/packed"], "data.uri is ~/packed, a path on this machine"),
        ([*RUN, "--set", "uri=runs/first"], "of the cluster shares, such as /"),
        ([*RUN, "--set", "uri=gs://b/first"], "gs://b/first: unknown scheme gs://"),
        ([*RUN, "--set", "checkpoints.resume=runs/old"], "checkpoints.resume is runs/old, a path"),
        ([*RUN, "--set", "quality.features=file:my.keras"], "quality.features is my.keras, a path"),
        ([*RUN, "--address", "auto"], "is auto; expected the URL of its dashboard"),
    ],
)
def test_a_wrong_run_is_one_line_and_sends_nothing(
    ray: ScriptedRay,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["submit", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert (ray.jobs, ray.packages, list(tmp_path.iterdir())) == ({}, [], [])


def test_a_run_is_submitted_and_its_commands_are_printed(
    ray: ScriptedRay, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["submit", *RUN, "--set", "storage.region=eu-north-1", "--detach"]
    assert run_command(arguments) == 0
    [job_id] = ray.jobs
    captured = capsys.readouterr()
    submitted, *commands = captured.out.splitlines()
    assert submitted == f"submitted job {job_id} to {ray.url}"
    assert [command.partition("dcgan-train ")[2] for command in commands] == [
        f"jobs logs --follow {job_id} --address {ray.url}",
        f"jobs stop {job_id} --address {ray.url}",
        "status s3://b/runs/first --region eu-north-1",
    ]
    assert captured.err == ""


def test_a_submitted_job_is_followed_to_its_end(
    ray: ScriptedRay, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--set", "uri=/shared/first", "--set", "data.uri=file:///shared/data"]
    with pytest.raises(SystemExit) as ended:
        run_command(["submit", *folders])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.endswith("\ntrained\n")
    assert captured.err.startswith(
        "every machine of the cluster must see data.uri (file:///shared/data) and uri"
        " (/shared/first) under the same path (a shared file system)\n"
    )


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/runs/first/", "first"),
        ("s3://bucket", "bucket"),
        ("/shared/my run: é/", "my-run"),
        ("/shared/...", "run"),
        ("file:///shared/" + "a" * 19 + ".b", "a" * 19),
    ],
)
def test_an_id_has_the_run_folders_name_and_the_time(uri: str, name: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert new_job_id(uri, now) == f"{name}-20260102-030405"
