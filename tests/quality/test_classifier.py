"""The classifier learns labels or rotations, the same bits from the same seed."""

import numpy as np
import pytest

from job.config.errors import DataError
from job.data.rows import LabelledImages
from job.quality.classifier import NUM_FEATURES, build_classifier, fit, scale, turned
from tests.quality.pictures import bars

pytestmark = pytest.mark.training


def labelled(num_images: int, seed: int = 0) -> LabelledImages:
    images, labels = bars(num_images, seed)
    return LabelledImages(images, labels.astype(np.int32), ("top", "left", "middle"))


def test_it_learns_the_labels_and_reports_each_epoch() -> None:
    epochs = []
    found = fit(labelled(1500), 0, 3, lambda epoch, accuracy: epochs.append((epoch, accuracy)))
    assert (found.task, found.class_names) == ("labels", ("top", "left", "middle"))
    assert [epoch for epoch, _ in epochs] == [1, 2, 3]
    assert found.accuracy == epochs[-1][1] > 0.9
    images, labels = bars(500, seed=1)
    logits = found.model.predict(scale(images), verbose=0)[1]
    assert (logits.argmax(axis=1) == labels).mean() > 0.9


def test_the_seed_decides_every_bit() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        return [variable.numpy() for variable in fit(labelled(300), seed, 1).model.variables]

    assert all(np.array_equal(*pair) for pair in zip(weights(5), weights(5), strict=True))
    first, other = (build_classifier((16, 16, 1), 3, seed).weights[0] for seed in (5, 6))
    assert not np.array_equal(first, other)


def test_images_without_a_label_are_left_out() -> None:
    data = labelled(1200)
    data.labels[::2] = -1
    data.images[::2] = 255
    assert fit(data, 0, 4).accuracy > 0.9


@pytest.mark.parametrize("change", ["few", "one"])
def test_with_few_labels_or_one_class_it_learns_rotations(change: str) -> None:
    data = labelled(600)
    if change == "few":
        data.labels[255:] = -1
    else:
        data.labels[:] = 1
    assert fit(data, 0, 1).task == "rotations"
    small = LabelledImages(data.images[:255], data.labels[:255], data.class_names)
    with pytest.raises(DataError, match="255 images; expected at least 256"):
        fit(small, 0, 1)


def test_without_classes_it_learns_rotations() -> None:
    images, labels = bars(2400)
    found = fit(LabelledImages(images[labels == 0], None, ()), 0, 4)  # bars at the top
    assert found.task == "rotations"
    assert found.class_names == ("0", "90", "180", "270")
    assert found.accuracy > 0.9


def test_an_image_is_turned_by_its_label() -> None:
    images = bars(400)[0]
    result, turns = turned(images, np.random.default_rng(0))
    assert set(turns) == {0, 1, 2, 3}
    for before, after, turn in zip(images, result, turns, strict=True):
        assert np.array_equal(after, np.rot90(before, turn))
    with pytest.raises(DataError, match=r"16x8 \(height x width\), and fewer than 256 have"):
        turned(images[:, :, :8], np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 64, 3), (128, 128, 3)])
def test_features_and_logits_have_their_size_for_any_image(shape: tuple[int, int, int]) -> None:
    features, logits = build_classifier(shape, 7, 0)(np.zeros((2, *shape), np.float32))
    assert features.shape == (2, NUM_FEATURES)
    assert logits.shape == (2, 7)
