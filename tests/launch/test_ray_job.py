"""``ray job submit`` to a real cluster with token authentication, as a team with a Ray cluster uses the program; and workers it has no room for."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from job.checkpoints.checkpoints import Checkpoints
from job.storage.uri import open_store
from tests.launch.program import (
    START_SECONDS,
    descendants,
    newest_step,
    run,
    train_command,
    whole_checkpoints,
)
from tests.launch.ray_head import BIN, RayHead, ray_head
from tests.servers.prometheus import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with (
        tempfile.TemporaryDirectory(
            prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder,
        ray_head(Path(folder)) as started,
    ):
        yield started


@pytest.fixture
def working_dir(garments: Path, tmp_path: Path) -> Path:
    """A folder with nothing but ``run.yaml``, as a user would submit it."""
    folder = tmp_path / "submitted"
    folder.mkdir()
    settings = {
        "training__steps": 10**6,
        "checkpoints__every_steps": 50,
        "training__steps_per_call": 10,
    }
    values = [
        part.partition("=") for part in train_command(garments, tmp_path / "run", **settings)[2::2]
    ]
    document: dict[str, object] = {}
    for name, _, value in values:
        section = document
        *outer, key = name.split(".")
        for part in outer:
            section = section.setdefault(part, {})  # type: ignore[assignment]
        section[key] = yaml.safe_load(value)
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    return folder


def ray_job(
    head: RayHead, env: Mapping[str, str], *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """``ray job`` with these words."""
    verb, *words = arguments
    command = [BIN / "ray", "job", verb, "--address", head.dashboard, *words]
    return subprocess.run(
        command,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


def submit(
    head: RayHead, env: Mapping[str, str], working_dir: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """The command of the README; follows the job to its end."""
    command = [
        "submit",
        "--working-dir",
        working_dir,
        *options,
        "--",
        "python",
        "-m",
        "job",
        "train",
        "--config",
        "run.yaml",
    ]
    answers: list[subprocess.CompletedProcess[str]] = []

    def is_answered() -> bool:
        """Ray's dashboard answers some seconds before the agent that starts jobs is there."""
        answers.append(ray_job(head, env, *command))
        return "No available agent to submit job" not in answers[-1].stdout

    wait_for("the agent that starts jobs", is_answered, START_SECONDS)
    return answers[-1]


def test_a_submitted_job_is_stopped_and_submitted_again(
    head: RayHead, working_dir: Path, tmp_path: Path
) -> None:
    run_folder = tmp_path / "run"
    submitted = submit(head, head.env, working_dir, "--no-wait", "--submission-id", "first")
    assert submitted.returncode == 0, submitted.stdout
    wait_for("a checkpoint", lambda: newest_step(run_folder), START_SECONDS)
    stopped = ray_job(head, head.env, "stop", "first")
    assert stopped.returncode == 0, stopped.stdout
    assert "Job 'first' was stopped" in ray_job(head, head.env, "status", "first").stdout
    logs = ray_job(head, head.env, "logs", "first").stdout
    newest = Checkpoints(open_store(str(run_folder))).committed()[0]
    assert newest.reason == "preemption" or newest.step % 50 == 0, logs
    assert (
        f"stopped; the last checkpoint is step {newest.step}; the same command resumes from there"
        in logs
    )
    no_workers_left(head)

    steps = newest.step + 40
    run_yaml = working_dir / "run.yaml"
    run_yaml.write_text(
        yaml.safe_dump(
            yaml.safe_load(run_yaml.read_text())
            | {"training": {"global_batch_size": 16, "steps": steps}}
        )
    )
    submitted = submit(head, head.env, working_dir)
    assert submitted.returncode == 0, submitted.stdout
    assert "succeeded" in submitted.stdout
    assert f"resuming from step {newest.step:,}" in submitted.stdout
    assert f"checkpoint:   file://{run_folder}/checkpoints/step-{steps:09d}" in submitted.stdout
    assert whole_checkpoints(run_folder)[0] == steps
    no_workers_left(head)


def no_workers_left(head: RayHead) -> None:
    wait_for(
        "the workers to leave the cluster",
        lambda: "ray::RayTrainWo" not in {process.name for process in descendants(head.pid)},
    )


def test_without_the_token_nothing_is_submitted(
    head: RayHead, working_dir: Path, tmp_path: Path
) -> None:
    refused = submit(head, head.env_without_token, working_dir)
    assert refused.returncode != 0
    assert "token" in refused.stdout.lower()
    wrong = submit(head, {**head.env_without_token, "RAY_AUTH_TOKEN": "0" * 64}, working_dir)
    assert wrong.returncode != 0
    assert "succeeded" not in wrong.stdout
    assert not (tmp_path / "run").exists()


def test_more_workers_than_the_cluster_has(head: RayHead, garments: Path, tmp_path: Path) -> None:
    settings = {"workers__count": 4, "workers__start_timeout_seconds": 3, "training__steps": 40}
    code, output = run(
        train_command(garments, tmp_path / "run", **settings),
        tmp_path / "train.log",
        {**head.env, "RAY_ADDRESS": head.address},
        seconds=90,
    )
    assert code == 2, output
    said = output.rstrip("\n").rpartition("\n")[2]
    assert said.startswith(
        "error: workers.count is 4, each with 1 CPU and 0 GPUs; found room for 2 after 3 s (workers.start_timeout_seconds) in a cluster of 1"
        " node with 2 CPUs"
    ), said
    assert "Lower workers.count" in said
    assert whole_checkpoints(tmp_path / "run") == []
