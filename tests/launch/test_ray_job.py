"""``dcgan-train submit`` and ``ray job submit`` to a real cluster with token authentication.

And too many workers for it.
"""

import json
import re
import signal
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
    run,
    started,
    train_command,
    whole_checkpoints,
)
from tests.launch.ray_head import BIN, RayHead, ray_head
from tests.servers.prometheus import wait_for

pytestmark = [pytest.mark.live, pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


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
    """Run ``ray job`` with these arguments."""
    verb, *others = arguments
    command = [BIN / "ray", "job", verb, "--address", head.dashboard, *others]
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
    """Run the command of the README, which follows the job to its end."""
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
    run_folder, run_yaml = tmp_path / "run", working_dir / "run.yaml"
    env = {**head.env, "RAY_API_SERVER_ADDRESS": head.dashboard}
    command = ["submit", "--config", str(run_yaml)]
    with started(command, tmp_path / "submit.log", env) as program:
        job_id = program.wait_for_text(r"submitted job (\S+) to http")[1]
        newest_saved = program.wait_for_checkpoint(run_folder, after=0)
        program.wait_for_text("metrics of worker 0")  # a line of the job's log
        program.send(signal.SIGINT)
        assert program.exit_code() == 130
        assert f"job {job_id} keeps running\n" in program.output
    code, output = run(["jobs", "list"], tmp_path / "list.log", env)
    assert code == 0
    assert re.search(rf"^{job_id} +running ", output, re.MULTILINE)
    # The head node gives a job 3 s to stop; `submit` asks for the run's grace period.
    code, output = run(["jobs", "stop", job_id], tmp_path / "stop.log", env)
    assert code == 0, output
    newest = Checkpoints(open_store(str(run_folder))).committed()[0]
    assert newest.step > newest_saved
    assert newest.reason == "preemption" or newest.step % 50 == 0, output
    assert output.splitlines() == [
        f"stopping job {job_id}: waiting for its last checkpoint",
        f"job {job_id} was stopped",
        f"the last checkpoint is step {newest.step}; the same command resumes from there",
    ]
    assert "Job '" + job_id + "' was stopped" in ray_job(head, head.env, "status", job_id).stdout
    no_workers_left(head)

    steps = newest.step + 40
    variables = {"env_vars": {"DCGAN_SET_TRAINING__STEPS": str(steps)}}  # over run.yaml
    submitted = submit(head, head.env, working_dir, "--runtime-env-json", json.dumps(variables))
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
    env = {**head.env_without_token, "RAY_AUTH_TOKEN": "0" * 64}
    command = ["submit", "--config", str(working_dir / "run.yaml"), "--address", head.dashboard]
    code, output = run(command, tmp_path / "submit.log", env)
    assert code == 2
    assert "Invalid authentication token; expected the cluster's token: set RAY_AUTH_M" in output


def test_a_failing_job_has_the_exit_code_of_train(
    head: RayHead, working_dir: Path, tmp_path: Path
) -> None:
    options = ["--address", head.dashboard, "--set", f"data.uri={tmp_path}/none"]
    command = ["submit", "--config", str(working_dir / "run.yaml"), *options]
    code, output = run(command, tmp_path / "submit.log", head.env)
    assert code == 5, output
    assert f"{tmp_path}/none/index.json: not found; expected a packed data set" in output
    assert output.endswith("failed with exit code 5; its log has the reason\n")


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
        "error: workers.count is 4, each with 1 CPU and 0 GPUs; found room for 2 after 3 s"
        " (workers.start_timeout_seconds) in a cluster of 1 node with 2 CPUs"
    ), said
    assert "Lower workers.count" in said
    assert whole_checkpoints(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("has_token", "code", "text"),
    [
        (True, 0, r"ok       Ray: .*: 1 node, room for 2 workers, with a token"),
        (False, 2, r"error    Ray: RAY_ADDRESS is .*: no Ray cluster responds"),
    ],
)
def test_doctor_joins_the_cluster_with_its_token(
    has_token: bool, code: int, text: str, head: RayHead, garments: Path, tmp_path: Path
) -> None:
    env = dict(head.env if has_token else head.env_without_token)
    if not has_token:
        env |= {"RAY_AUTH_TOKEN": "0" * 64}
    command = ["doctor", *train_command(garments, tmp_path / "run")[1:]]
    found, output = run(command, tmp_path / "log", env | {"RAY_ADDRESS": head.address})
    assert found == code, output
    assert re.search(text, output), output
