"""The values ``auto`` of a run, by the size of its images and their number."""

import pytest

from job.config.load import load_run
from job.config.spec import RunSpec
from job.training.automatic import without_auto


def spec_of(*overrides: str, preset: str = "notebook") -> RunSpec:
    return load_run(preset, overrides=["uri=a", "data.uri=b", *overrides])


@pytest.mark.parametrize(
    ("preset", "num_images", "gamma"),
    [
        ("notebook", 60_000, 2.0),
        ("notebook", 1_000_000, 2.0),
        ("notebook", 41_667, 2.4),
        ("notebook", 300, 3.2),
        ("dcgan64", 60_000, 10.4),
    ],
)
def test_gamma_grows_with_the_pixels_and_with_scarcity(
    preset: str, num_images: int, gamma: float
) -> None:
    spec = spec_of(
        "training.objective={r1_gamma: auto, r2_gamma: auto}",
        "model.discriminator.normalize=false",
        preset=preset,
    )
    objective = without_auto(spec, num_images).training.objective
    assert (objective.r1_gamma, objective.r2_gamma) == (gamma, gamma)


@pytest.mark.parametrize(
    ("num_images", "objective", "mode"),
    [
        (9_999, "non_saturating", "adaptive"),
        (9_999, "hinge", "adaptive"),
        (9_999, "least_squares", "adaptive"),
        (9_999, "relativistic", "none"),
        (9_999, "wasserstein", "none"),
        (10_000, "non_saturating", "none"),
    ],
)
def test_few_images_are_augmented_if_d_overfits(num_images: int, objective: str, mode: str) -> None:
    spec = spec_of(
        "training.augment.mode=auto",
        f"training.objective={{name: {objective}, gradient_penalty: 1}}",
        "model.discriminator.normalize=false",
    )
    assert without_auto(spec, num_images).training.augment.mode == mode


def test_what_is_not_auto_stays() -> None:
    spec = spec_of("training.objective.r1_gamma=0.5", "training.augment.mode=adaptive")
    assert without_auto(spec, 100) == spec
