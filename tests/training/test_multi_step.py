"""K steps in one call are K single steps, over the images of a chunk."""

import numpy as np
import pytest
import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.networks import Networks, build_networks
from job.gan.noise import BatchSlice
from job.gan.step import MEASURES, METRICS, build_step
from job.training.multi_step import build_train_call
from tests.training.alone import spec_of

pytestmark = pytest.mark.training

FIRST_STEP = 20


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    return spec_of(tmp_path_factory.mktemp("unused"))


def images(num_steps: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (num_steps, 8, 8, 8, 1), np.uint8)


def weights(networks: Networks) -> list[np.ndarray]:
    return [variable.numpy() for part in networks[:4] for variable in part.variables]


def by_calls(
    spec: RunSpec, *sizes: int, num_stripes: int = 1, num_classes: int = 0
) -> tuple[np.ndarray, list]:
    """Return metrics and weights after calls of these numbers of steps."""
    networks, strategy = build_networks(spec, num_classes), tf.distribute.get_strategy()
    call, found, start = build_train_call(spec, strategy, networks), [], 0
    for size in sizes:
        batch = images(sum(sizes))[start : start + size]  # [K, B, ...] to [S, K, P, ...]
        chunk = batch.reshape(size, num_stripes, -1, *batch.shape[2:]).swapaxes(0, 1)
        labels = []
        if num_classes:  # by an image's first pixel
            labels = [tf.constant(chunk[:, :, :, 0, 0, 0] % num_classes, tf.int32)]
        first_step = tf.constant(FIRST_STEP + start, tf.int64)
        metrics, measures = call(tf.constant(chunk), first_step, *labels)
        assert measures.shape == (size, len(MEASURES))
        assert np.array_equal(metrics, measures[:, : len(METRICS)])  # one worker
        found.append(metrics.numpy())
        start += size
    return np.concatenate(found), weights(networks)


def test_the_memory_of_results_is_kept_for_the_next() -> None:
    """By TensorFlow's pool: without it, malloc's figures are an error."""
    tf.ones(1000) + 1
    assert tf.config.experimental.get_memory_info("CPU:0")["peak"] >= 4000


def test_a_call_of_k_steps_is_k_single_steps(spec: RunSpec) -> None:
    networks = build_networks(spec)
    step = tf.function(build_step(spec, networks))
    rows = [
        step(
            tf.constant(batch),
            BatchSlice(tf.constant(FIRST_STEP + number, tf.int64), tf.constant(0, tf.int64)),
        )
        for number, batch in enumerate(images(3))
    ]
    metrics, found = by_calls(spec, 3)
    np.testing.assert_allclose(metrics, np.stack(rows)[:, : len(METRICS)], rtol=1e-5)
    for a, b in zip(found, weights(networks), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_calls_of_any_size_give_the_same_bits(spec: RunSpec) -> None:
    whole, parts = by_calls(spec, 3), by_calls(spec, 1, 2)
    assert np.array_equal(whole[0], parts[0])
    for a, b in zip(whole[1], parts[1], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_stripes_are_the_batch_in_order(spec: RunSpec, num_classes: int) -> None:
    one, four = (by_calls(spec, 2, num_stripes=n, num_classes=num_classes) for n in (1, 4))
    assert np.array_equal(one[0], four[0])
