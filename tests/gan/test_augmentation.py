"""The augmentation of a run: what D sees, and the probability that follows its overfitting."""

import numpy as np
import pytest
import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.augmentation import Augmentation
from job.gan.networks import build_networks
from job.gan.noise import StepNoise
from job.gan.schedules import Schedules
from job.gan.step import MEASURES, build_step
from job.gan.streams import Purpose
from tests.gan.tiny import at, images, small

pytestmark = pytest.mark.training

COARSE = ("discriminator_accuracy", "compute_seconds")  # a share of 8 pairs, a time
ADAPTIVE = "training.augment.mode=adaptive"


def augmentation(spec: RunSpec) -> Augmentation:
    networks = build_networks(spec)
    return Augmentation(spec, networks.adaptive, StepNoise(spec, networks, 0), Schedules(spec))


def test_nothing_is_drawn_or_changed_by_default() -> None:
    own, real = augmentation(small()), tf.cast(images(8), tf.float32)
    assert own.draw(Purpose.AUGMENT_REAL, at(0), 8) is None
    assert own.apply(real, None) is real
    assert build_networks(small()).adaptive is None


def test_real_and_fake_images_get_other_numbers() -> None:
    own = augmentation(small("training.augment.mode=fixed", "training.augment.probability=0.5"))
    purposes = [purpose for purpose in Purpose if purpose.name.startswith("AUGMENT")]
    drawn = [own.draw(purpose, at(3), 8) for purpose in purposes]
    assert len({each.numbers.numpy().tobytes() for each in drawn if each}) == len(purposes) == 4
    assert [float(each.probability) for each in drawn if each] == [0.5] * 4


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_the_sign_of_real_logits_drives_a_step(updates: str) -> None:
    spec = small(ADAPTIVE, f"training.updates={updates}", "training.augment.target=-1")
    networks = build_networks(spec)
    metrics = build_step(spec, networks)(images(8), at(0))
    assert networks.adaptive is not None
    share = float(networks.adaptive.sign_sum)
    assert (share > 0) == (float(metrics[2]) > 0.5) or -1 < share < 1
    assert abs(share * 8 - round(share * 8)) < 1e-5  # a mean of 8 signs
    for number in (1, 2, 3):
        build_step(spec, networks)(images(8), at(number))
    assert float(networks.adaptive.probability) == pytest.approx(4 * 8 / 100_000)


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_a_step_with_augmentation_trains_both_networks_on_other_images(updates: str) -> None:
    compared = [MEASURES.index(name) for name in MEASURES if name not in COARSE]
    plain, augmented = (
        build_step(spec, build_networks(spec))(images(8), at(0)).numpy()[compared]
        for spec in (
            small(f"training.updates={updates}", f"training.augment.mode={mode}")
            for mode in ("none", "fixed")
        )
    )
    assert np.isfinite(augmented).all()
    assert (np.abs(plain - augmented) > 1e-6).all()
