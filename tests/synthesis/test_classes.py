"""Classes of generated images: in turn or as often as in the data, by seed and index alone."""

import numpy as np
import pytest

from job.config.errors import ConfigError
from job.data.index import ImageClass
from job.synthesis.classes import ClassPlan, class_plan, labels_in_turn

NAMES, ROWS = ("cat", "dog", "7"), (100, 700, 200)
CLASSES = tuple(map(ImageClass, NAMES, ROWS))


@pytest.mark.parametrize("turn", [(), (0, 1, 2), (2, 0)])
def test_a_label_depends_on_the_index_alone(turn: tuple[int, ...]) -> None:
    plan = ClassPlan(NAMES, ROWS, turn, seed=3)
    whole = plan.labels(0, 1000)
    assert whole.dtype == np.int32
    parts = [plan.labels(first, 125) for first in range(0, 1000, 125)]
    assert np.array_equal(np.concatenate(parts), whole)
    if turn:
        assert whole[:5].tolist() == [turn[index % len(turn)] for index in range(5)]


def test_classes_are_drawn_as_often_as_in_the_data_by_the_seed() -> None:
    plan, other = (ClassPlan(NAMES, ROWS, seed=seed) for seed in (0, 1))
    shares = np.bincount(plan.labels(0, 20_000)) / 20_000
    np.testing.assert_allclose(shares, [0.1, 0.7, 0.2], atol=0.01)
    assert not np.array_equal(plan.labels(0, 100), other.labels(0, 100))


def test_a_class_without_images_is_never_drawn() -> None:
    assert set(ClassPlan(NAMES, (0, 5, 0)).labels(0, 1000).tolist()) == {1}


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (1, 2), (5, 150), (7, 7), (5, 1_050_000)])
@pytest.mark.parametrize("turn", [(), (0, 1, 2), (2,)])
def test_classes_are_counted_without_making_images(
    start: int, stop: int, turn: tuple[int, ...]
) -> None:
    plan = ClassPlan(NAMES, ROWS, turn)
    labels = plan.labels(start, stop - start)
    assert plan.num_images(start, stop) == np.bincount(labels, minlength=3).tolist()


def test_classes_are_named_or_numbered() -> None:
    def labels(*wanted: str, balanced: bool = False) -> tuple[int, ...]:
        return labels_in_turn(CLASSES, wanted, balanced=balanced, uri="runs/one")

    assert labels() == ()
    assert labels(balanced=True) == (0, 1, 2)
    assert labels("dog", "0") == (1, 0)
    assert labels("7") == (2,)  # its name
    with pytest.raises(
        ConfigError,
        match="--class is dogs; expected a class of runs/one or a number from 0 to 2; did you mean",
    ):
        labels("dogs")
    with pytest.raises(ConfigError, match=r"its classes are \['cat', 'dog', '7'\]"):
        labels("3")


@pytest.mark.parametrize(
    ("wanted", "balanced", "found"),
    [(["cat"], False, "--class is cat"), ([], True, "--balanced is given")],
)
def test_an_unconditional_generator_has_no_classes(
    wanted: list[str], balanced: bool, found: str
) -> None:
    assert class_plan((), [], balanced=False, seed=0, uri="runs/one") is None
    with pytest.raises(ConfigError, match=f"{found} and runs/one has no classes; .*conditional"):
        class_plan((), wanted, balanced=balanced, seed=0, uri="runs/one")
