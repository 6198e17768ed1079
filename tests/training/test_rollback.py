"""A loss that is not finite: the run rolls back to its last checkpoint with other noise.

The diagnosis is written, and the number of rollbacks is limited.
"""

import json
import re
from pathlib import Path

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.storage.uri import open_store
from tests.launch.program import environment, run, state
from tests.streaming.sets import pack_numbered

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

SETTINGS = {
    "model.image_size": 8,
    "model.generator.filters": "[8]",
    "model.generator.latent_size": 8,
    "model.discriminator.filters": "[8]",
    "training.global_batch_size": 16,
    "training.steps": 80,
    "training.steps_per_call": 10,
    "checkpoints.every_steps": 20,
    "samples.every_steps": 40,
    "workers.count": 1,
    "metrics.port": 0,
    "metrics.linger_seconds": 0,
}


def train(folder: Path, num_bad_sets: int, **settings: object) -> tuple[int, str]:
    if not (folder / "set").exists():
        pack_numbered(folder / "set", 160, 40, height=8, width=8)
    values = (
        SETTINGS
        | {"uri": folder / "run", "data.uri": folder / "set"}
        | {k.replace("__", "."): v for k, v in settings.items()}
    )
    arguments = [str(num_bad_sets), *(f"{key}={value}" for key, value in values.items())]
    return run_module(arguments, folder)


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to its end in one attempt, with one loss that is not finite on the way."""
    folder = tmp_path_factory.mktemp("once")
    code, output = train(folder, 1)
    assert code == 0, output
    return folder


def run_module(arguments: list[str], folder: Path) -> tuple[int, str]:
    return run(
        arguments,
        folder / "train.log",
        environment(folder, TF_CPP_MIN_LOG_LEVEL="2"),
        module="tests.training.rolling",
        fork=True,
    )


def diagnoses(folder: Path) -> list[dict]:
    return [
        json.loads(path.read_text()) for path in sorted((folder / "run" / "divergences").iterdir())
    ]


def test_it_rolls_back_with_other_noise_and_ends_well(rolled_back: Path) -> None:
    (diagnosis,) = diagnoses(rolled_back)
    assert diagnosis["step"] == 45
    assert diagnosis["workers"] == [0]
    assert diagnosis["last_good_checkpoint"] == 40
    *before, bad = diagnosis["steps_before"]
    assert bad["step"] == 45
    assert bad["generator_loss"] == "nan"
    assert [each["step"] for each in before] == [41, 42, 43, 44]
    assert all(0 < each["generator_gradient_norm"] < 100 for each in before)
    manifests = Checkpoints(open_store(str(rolled_back / "run"))).committed()
    assert [(manifest.step, manifest.noise_stream) for manifest in manifests] == [
        (80, 1),
        (60, 1),
        (40, 0),
    ]
    output = (rolled_back / "train.log").read_text()
    assert (
        "generator_loss is nan; expected a finite number: rolling back to the last checkpoint (step"
        in output
    )
    assert "dcgan_rollbacks_total" in output


def test_a_worker_that_waits_for_others_is_training(rolled_back: Path) -> None:
    """Also after a grid and a checkpoint: a hang there is not a slow save; its alert differs."""
    said = re.findall(r"^agreeing in (.+)$", (rolled_back / "train.log").read_text(), re.MULTILINE)
    assert said.count("train") >= 8
    assert {phase for phase in said if phase != "start"} == {"train"}
    # One for the hosts, two for each restore, and the rollback: the others wait there while the
    # chief writes the diagnosis.
    assert said.count("start") == 6


def test_an_attempt_after_that_uses_the_same_other_noise(rolled_back: Path, tmp_path: Path) -> None:
    """Stopped after the rollback and started again: the same weights as without the stop."""
    assert train(tmp_path, 1, training__steps=60)[0] == 0
    assert train(tmp_path, 1)[0] == 0
    assert len(diagnoses(tmp_path)) == 1
    wanted, found = state(rolled_back / "run", 80), state(tmp_path / "run", 80)
    assert wanted.keys() == found.keys()
    assert not [name for name in wanted if wanted[name].tobytes() != found[name].tobytes()]


def test_the_number_of_rollbacks_is_limited(tmp_path: Path) -> None:
    code, output = train(tmp_path, 100, training__max_rollbacks=1)
    assert code == 4, output
    assert [each["number"] for each in diagnoses(tmp_path)] == [1, 2]
    assert (
        "error: step 45: generator_loss is nan; expected a finite number."
        " That was number 2, each with other noise" in output
    )
    assert "(training.max_rollbacks is 1). Last good checkpoint: step 40 in" in output
    assert Checkpoints(open_store(str(tmp_path / "run"))).restore()[0].step == 40


def test_before_the_first_checkpoint_it_begins_again(tmp_path: Path) -> None:
    code, output = train(tmp_path, 1, checkpoints__every_steps=80)
    assert code == 0, output
    assert diagnoses(tmp_path)[0]["last_good_checkpoint"] is None
    assert Checkpoints(open_store(str(tmp_path / "run"))).committed()[0].noise_stream == 1
