"""Everything that training changes: equal in every process, with names that stay."""

import numpy as np
import pytest

from job.gan.networks import build_networks, dtype_policy, generator_weights, moving_statistics
from tests.gan.tiny import small

pytestmark = pytest.mark.training


def test_equal_seeds_build_equal_weights_and_other_seeds_others() -> None:
    first, again, other = (build_networks(small(f"seed={seed}")) for seed in (3, 3, 4))
    for a, b in zip(first.generator.get_weights(), again.generator.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(first.generator.get_weights()[0], other.generator.get_weights()[0])


def test_names_of_saved_variables_do_not_depend_on_what_was_built_before() -> None:
    named = []
    for _ in range(2):
        networks = build_networks(small())
        variables = [variable for part in networks[:4] for variable in part.variables]
        named.append([variable.path for variable in variables])
    assert named[0] == named[1]
    assert "generator_optimizer/learning_rate" in named[0]


def test_the_average_is_there_if_it_is_configured() -> None:
    assert build_networks(small("training.ema_decay=0")).ema == []
    networks = build_networks(small("training.ema_decay=0.5"))
    weights = generator_weights(networks.generator)
    assert [average.name for average in networks.ema] == [f"ema_{w.name}:0" for w in weights]
    for average, weight in zip(networks.ema, weights, strict=True):
        assert np.array_equal(average, weight)


def test_moving_statistics_are_those_of_every_norm_of_both_networks() -> None:
    networks = build_networks(small("model.discriminator.normalize=true"))
    norms = [
        networks.generator.get_layer("project_norm"),
        networks.generator.get_layer("upsample_1_norm"),
        networks.discriminator.get_layer("conv_2_norm"),
    ]
    expected = [
        statistic.value for norm in norms for statistic in (norm.moving_mean, norm.moving_variance)
    ]
    found = moving_statistics(networks)
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))


def test_the_moving_statistics_are_averaged_too() -> None:
    networks = build_networks(small("training.ema_decay=0.5"))
    averages = networks.ema[len(networks.generator.trainable_variables) :]
    assert len(averages) == len(networks.generator.non_trainable_variables) > 0
    statistics = moving_statistics(networks)
    for average in averages:  # a replica's own, as the statistics themselves
        assert any(average is statistic for statistic in statistics)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights_and_logits() -> None:
    networks = build_networks(small("training.precision=bfloat16", preset="fashion"))
    assert dtype_policy("bfloat16") == "mixed_bfloat16"
    assert networks.generator.get_layer("project").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in networks.generator.weights} == {"float32"}
    assert networks.discriminator.output.dtype == networks.generator.output.dtype == "float32"
