"""D's loss: the mean of an objective's terms, its penalties, and the logits of both batches."""

import numpy as np
import pytest
import tensorflow as tf

from job.gan.discriminator_loss import (
    Rules,
    build_rules,
    discriminate,
    draw,
    judgements,
    mean_of_terms,
    overfitting_share,
    with_penalties,
)
from job.gan.networks import Networks, build_networks
from tests.gan.tiny import at, small

pytestmark = pytest.mark.training

LOGITS = tf.constant([1.0, -2.0, 0.5, 3.0]), tf.constant([-1.0, 0.5, -3.0, 2.0])


def build(*overrides: str) -> tuple[Rules, Networks]:
    spec = small(*overrides)
    networks = build_networks(spec)
    return build_rules(spec, networks, 0), networks


def pixels(seed: int) -> tf.Tensor:
    return tf.random.stateless_normal([8, 28, 28, 1], [1, seed])


def test_the_share_of_a_replica_is_of_the_global_batch() -> None:
    """Four images of a batch of eight, two terms."""
    rules, _ = build()
    real, fake = (np.asarray(each, np.float64) for each in LOGITS)
    terms = np.log1p(np.exp(-real)) + np.log1p(np.exp(fake))
    np.testing.assert_allclose(
        mean_of_terms(rules.objective, LOGITS, 8), terms.sum() / 16, rtol=1e-5
    )
    shares = [(1 / (1 + np.exp(-each))).sum() / 8 for each in (real, fake)]
    is_right = [1, 0, 1, 1]  # the pairs' larger logit is the real one's
    np.testing.assert_allclose(judgements(LOGITS, 8), [*shares, sum(is_right) / 8], rtol=1e-5)


def test_equal_logits_are_judged_half_right() -> None:
    same = tf.constant([0.3, -5.0])
    assert float(judgements((same, same), 2)[2]) == 0.5


@pytest.mark.parametrize(("name", "num_terms"), [("non_saturating", 2), ("relativistic", 1)])
def test_gamma_weighs_a_penalty_against_the_sum_of_the_terms(name: str, num_terms: int) -> None:
    rules, _ = build(f"training.objective={{name: {name}, r1_gamma: 4}}")
    draws, step = draw(rules, at(0), 8), tf.constant(0, tf.int64)
    penalty = rules.penalties.loss(pixels(1), pixels(2), draws.masks, draws.penalties, step)
    total = with_penalties(rules, tf.constant(0.0), pixels(1), pixels(2), draws, step)
    np.testing.assert_allclose(total, penalty / num_terms, rtol=1e-5)
    plain, _ = build()
    assert with_penalties(plain, tf.constant(2.0), pixels(1), pixels(2), draws, step) == 2.0


def test_one_batch_gives_the_logits_of_two() -> None:
    rules, networks = build()
    masks = draw(rules, at(3), 8).masks
    found = discriminate(rules.spec, networks.discriminator, pixels(1), pixels(2), masks)
    for logits, images, others in zip(found, (pixels(2), pixels(1)), masks[::-1], strict=True):
        alone = networks.discriminator([images, *others])
        np.testing.assert_allclose(logits, alone, rtol=1e-4, atol=1e-5)


def test_the_share_of_the_signs_is_only_there_if_it_is_used() -> None:
    rules, _ = build("training.augment.mode=adaptive")
    share = overfitting_share(rules, LOGITS)
    assert share is not None
    assert float(share) == (3 - 1) / 8
    assert overfitting_share(build()[0], LOGITS) is None
