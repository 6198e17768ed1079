"""A whole worker, alone in its process: train N steps, resume, train N more is train 2N."""

import json
from pathlib import Path

import pytest

from job.run.layout import PROGRESS, grid_key
from tests.launch.program import environment, run, state, whole_checkpoints
from tests.streaming.sets import pack_numbered
from tests.training.alone import SETTINGS

pytestmark = pytest.mark.training


# Step 6 is inside an interval of adaptive augmentation, and before the end of the schedule.
EVERYTHING = {
    "model.conditional": True,
    "model.discriminator.spectral_norm": True,
    "training.objective": "{name: hinge, r1_gamma: 1, r2_gamma: 1, penalty_every: 3}",
    "training.augment": "{mode: adaptive, target: -1, adapt_images: 96}",
    "training.discriminator_optimizer.name": "adam",
    "training.schedule": "{images: 60, learning_rate_factor: 0.5, beta_2: 0.9, gamma_factor: 0.1}",
    "training.ema_half_life_images": 40,
}


def train(folder: Path, data: Path, steps: int, settings: dict[str, object]) -> str:
    values = {
        **SETTINGS,
        "uri": folder,
        "data.uri": data,
        "training.steps": steps,
        "training.ema_decay": 0.9,
        "samples.every_steps": 2,  # a run that ends at step 6 has no grid that the other lacks
        **settings,
        "metrics.port": 0,
        "metrics.linger_seconds": 0,
    }
    code, output = run(
        ["0", "1", *(f"{key}={value}" for key, value in values.items())],
        folder.with_suffix(".log"),
        environment(folder.parent, TF_CPP_MIN_LOG_LEVEL="2"),
        module="tests.streaming.worker",
        fork=True,
    )
    assert code == 0, output
    return output


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="plain", marks=pytest.mark.live),
        pytest.param({"model.conditional": True}, id="labels"),
        pytest.param(EVERYTHING, id="everything"),
    ],
)
def test_a_resumed_run_ends_with_the_bits_of_the_whole_run(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    data, whole, parts = (tmp_path / name for name in ("set", "whole", "parts"))
    pack_numbered(data, 40, 16, height=8, width=8)
    train(whole, data, 8, settings)
    train(parts, data, 6, settings)
    assert "step 8\n" in train(parts, data, 8, settings)
    assert whole_checkpoints(whole)[:2] == [8, 4]
    assert whole_checkpoints(parts)[:3] == [8, 6, 4]
    expected, found = state(whole, 8), state(parts, 8)
    is_conditional = "model.conditional" in settings
    assert any("class_embedding" in name for name in expected) == is_conditional
    is_adaptive = "training.augment" in settings
    assert any(name.startswith("augmentation") for name in expected) == is_adaptive
    assert expected.keys() == found.keys()
    assert not [name for name in expected if expected[name].tobytes() != found[name].tobytes()]
    for step in (0, 2, 4, 6, 8):
        assert (parts / grid_key(step)).read_bytes() == (whole / grid_key(step)).read_bytes()
    assert (parts / PROGRESS).read_bytes() == (whole / PROGRESS).read_bytes()
    summary = json.loads((parts / "summary.json").read_text())
    assert (summary["outcome"], summary["steps"], summary["resumed_from_step"]) == ("done", 8, 6)
