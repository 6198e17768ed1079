"""Initial weights by seed, network and layer; activations by name."""

import numpy as np
import pytest

from job.gan.layers import Initializers, activation

pytestmark = pytest.mark.training

SHAPE = (100, 100)


def kernels(seed: int, network: str, stddev: float | None = None) -> list[bytes]:
    initializers = Initializers(seed, network, stddev)
    return [np.asarray(initializers.kernel()(SHAPE)).tobytes() for _ in range(2)]


def test_weights_depend_on_seed_network_and_layer_alone() -> None:
    drawn = [kernels(seed, name) for seed, name in ((1, "generator"), (2, "generator"), (1, "d"))]
    assert drawn[0] == kernels(1, "generator")
    assert len({kernel for each in drawn for kernel in each}) == 6


def test_the_deviation_is_the_papers_or_glorots() -> None:
    normal = np.asarray(Initializers(0, "generator", 0.02).kernel()(SHAPE))
    glorot = np.asarray(Initializers(0, "generator", None).kernel()(SHAPE))
    assert normal.std() == pytest.approx(0.02, rel=0.05)
    limit = (6 / (100 + 100)) ** 0.5
    assert np.abs(glorot).max() == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize(
    ("name", "value"), [("leaky_relu", -0.4), ("relu", 0.0), ("selu", -1.5201665)]
)
def test_an_activation_of_minus_2(name: str, value: float) -> None:
    layer = activation(name, "float32")
    np.testing.assert_allclose(layer(np.float32([-2.0])), [value], rtol=1e-6)
