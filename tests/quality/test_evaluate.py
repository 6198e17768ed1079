"""Evaluations of small images whose answer is known, and what cannot be evaluated."""

import dataclasses

import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.config.storage import StorageSpec
from job.data.rows import LabelledImages, PackedImages, open_packed
from job.quality.classifier import build_classifier
from job.quality.evaluate import (
    check_held_out,
    check_trained_on,
    compare_with_training,
    score_images,
    usefulness_measurement,
)
from job.quality.features import Features
from job.quality.usefulness import Schedule
from tests.quality.pictures import bars, packed_bars

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    folder = tmp_path_factory.mktemp("evaluate") / "real"
    packed_bars(folder, 90)
    return open_packed(str(folder), StorageSpec())


@pytest.fixture(scope="module")
def features() -> Features:
    model = build_classifier((16, 16, 1), 3, 0)
    return Features("random", "a" * 64, type(model)(model.inputs, model.outputs[0]))


def test_the_first_half_scores_as_a_copy_of_itself(real: PackedImages, features: Features) -> None:
    found = score_images(real, features, real.read(0, 40), "copies", 0)
    assert found.generated.frechet_distance == pytest.approx(0.0, abs=1e-5)
    assert found.floor.frechet_distance > 1e-3
    assert found.basis.real_fingerprint == real.index.fingerprint
    assert (found.basis.num_real, found.basis.num_generated) == (40, 40)


def test_copies_of_the_training_images_have_distance_zero(
    real: PackedImages, features: Features
) -> None:
    unseen = LabelledImages(bars(50, seed=1)[0], None, ())
    near, picture = compare_with_training(real, features, real.read(50, 40), unseen)
    assert near.pixels.median_generated == 0.0 < near.pixels.median_held_out
    assert near.features.share_nearer == pytest.approx(1.0)
    assert picture.width == 20 * 66 + 2


def test_held_out_images_that_were_trained_on_are_refused(
    real: PackedImages, features: Features
) -> None:
    """Another pack of the same images has another fingerprint."""
    unseen = bars(50, seed=1)[0]
    for num_known in (4, 12):
        images = np.concatenate([real.read(0, num_known).images, unseen[num_known:]])
        held_out = LabelledImages(images, None, ())
        if num_known == 4:
            compare_with_training(real, features, real.read(50, 40), held_out)
            continue
        with pytest.raises(ConfigError, match="24% of the held-out images are also in"):
            compare_with_training(real, features, real.read(50, 40), held_out)


def test_usefulness_needs_classes_of_the_same_names(real: PackedImages) -> None:
    images, schedule = real.read(0, 60), Schedule(5, 1, range(1))
    test = (real.read(60, 30), "test")
    for other, message in (
        (images._replace(labels=None, class_names=()), "generated: the images have no classes"),
        (images._replace(class_names=("0", "1", "owl")), "generated: has class owl; expected"),
    ):
        with pytest.raises(DataError, match=message):
            usefulness_measurement(real, (other, "generated"), test, schedule, print)
    with pytest.raises(DataError, match="expected at least 40 of each class"):
        usefulness_measurement(real, (images, "generated"), test, Schedule(40, 1, range(1)), print)


def test_held_out_images_are_others_of_the_same_shape(real: PackedImages) -> None:
    with pytest.raises(ConfigError, match="the same images as --against"):
        check_held_out(real, real)
    index = dataclasses.replace(real.index, image_shape=(8, 8, 4))
    with pytest.raises(DataError, match="images are 8x8x4; expected 16x16x1"):
        check_held_out(PackedImages(real.store, index), real)


def test_a_run_is_compared_with_its_own_training_images(real: PackedImages) -> None:
    for fingerprint in (None, real.index.fingerprint):
        check_trained_on(fingerprint, real, "run")
    with pytest.raises(ConfigError, match="but run was trained on other images; expected its"):
        check_trained_on("f" * 64, real, "run")
