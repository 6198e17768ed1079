"""Sizes by arithmetic are those of the network that is built."""

import math

import pytest

from job.gan.generator import build_generator
from job.gan.sizes import generator_sizes
from tests.gan.tiny import small

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("preset", "settings", "num_classes"),
    [
        ("fashion", [], 0),
        ("notebook", [], 10),
        (
            "fashion",
            [
                "model.generator.upsampling=transposed",
                "model.generator.normalize=before_activation",
                "model.channels=3",
            ],
            0,
        ),
        ("notebook", ["model.generator.normalize=none", "model.generator.filters=[8]"], 2),
        ("fashion", [], 5),
        ("fashion", ["model.conditional=true", "model.generator.embedding_size=3"], 5),
        ("fashion", ["model.conditional=true", "model.generator.embedding_size=9000"], 5),
        ("fashion", ["model.conditional=true"], 3000),
    ],
)
def test_sizes_are_those_of_the_built_generator(
    preset: str, settings: list[str], num_classes: int
) -> None:
    model = small(*settings, preset=preset).model
    generator = build_generator(model, 0, num_classes=num_classes)
    sizes = generator_sizes(model, num_classes)
    trainable, statistics = generator.trainable_variables, generator.non_trainable_variables
    assert sizes.num_trainable == sum(math.prod(variable.shape) for variable in trainable)
    assert sizes.num_statistics == sum(math.prod(variable.shape) for variable in statistics)
    assert sizes.largest_output == max(
        math.prod(layer.output.shape[1:]) for layer in generator.layers
    )
