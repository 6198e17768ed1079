"""Combinations of objective, penalty, augmentation and schedule that cannot train as they say."""

import pytest

from job.config.check_training import WITH_BORDER, WITH_RATIO
from job.config.errors import ConfigError
from job.config.load import load_run
from job.config.spec import RunSpec

PLACES = ["uri=runs", "data.uri=data"]


def load(*overrides: str, preset: str = "notebook") -> RunSpec:
    return load_run(preset, overrides=[*PLACES, *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["training.objective.name=hinge", "training.updates=simultaneous"],
            "training.updates is simultaneous and training.objective.name is hinge; expected"
            " alternating updates, or one of non_saturating, relativistic, wasserstein",
        ),
        (
            ["training.objective.name=relativistic", "training.real_label=0.9"],
            "training.real_label is 0.9 and training.objective.name is relativistic; expected 1",
        ),
        (
            ["training.objective.name=wasserstein"],
            r"expected a penalty \(the paper: 10\) or spectral normalization",
        ),
        (
            ["training.objective.r1_gamma=auto", "model.discriminator.normalize=true"],
            "model.discriminator.normalize is true and training.objective has a gradient penalty",
        ),
        (
            [
                "training.objective.penalty=finite_difference",
                "training.objective.gradient_penalty=10",
            ],
            "penalty is finite_difference and gradient_penalty 10; expected exact",
        ),
        (
            [
                "training.objective.penalty=finite_difference",
                "training.objective.r1_gamma=1",
                "training.precision=bfloat16",
            ],
            "training.precision bfloat16; expected float32 or an exact penalty",
        ),
        (
            ["training.augment.mode=adaptive", "training.objective.name=relativistic"],
            "mode is adaptive and training.objective.name relativistic; expected fixed",
        ),
        (
            ["training.augment={mode: fixed, translation: 0, cutout: 0, color: 0}"],
            "expected one of them above 0",
        ),
        (
            ["training.schedule.learning_rate_factor=0.5"],
            "learning_rate_factor is 0.5 and training.schedule.images 0; expected the number",
        ),
        (
            ["training.schedule={images: 9, gamma_factor: 0.5}"],
            "training.schedule.gamma_factor is 0.5; expected r1_gamma with it",
        ),
        (
            ["training.schedule={images: 9, beta_2: 0.5}"],
            "training.schedule.beta_2 is 0.5; expected an optimizer named adam with it",
        ),
        (
            ["training.schedule={images: 9, ema_half_life_images: 5}"],
            "expected training.ema_half_life_images with it",
        ),
        (
            ["training.schedule={images: 9, augment_probability: 0.5}"],
            "expected training.augment.mode fixed with it",
        ),
        (["training.objective.r1_gamma=-1"], "training.objective.r1_gamma is -1; expected"),
        (["training.objective.r1_gamma=much"], "training.objective.r1_gamma is 'much'; expected"),
    ],
)
def test_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(*overrides)


@pytest.mark.parametrize("name", WITH_RATIO)
def test_simultaneous_updates_with(name: str) -> None:
    spec = load(
        f"training.objective={{name: {name}, gradient_penalty: 10}}",
        "training.updates=simultaneous",
    )
    assert spec.training.objective.has_penalty


@pytest.mark.parametrize("name", WITH_BORDER)
def test_adaptive_augmentation_with(name: str) -> None:
    load(f"training.objective.name={name}", "training.augment.mode=adaptive")


def test_gamma_is_a_number_or_auto() -> None:
    objective = load("training.objective={r1_gamma: 2e-1, r2_gamma: auto}").training.objective
    assert (objective.r1_gamma, objective.r2_gamma) == (0.2, "auto")
    assert objective.has_penalty
    assert not load().training.objective.has_penalty
