"""Several processes, one strategy: the same state, other noise, and the gradient of one process."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.group import Case, State, train_group

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]

TINY = [
    "training.global_batch_size=12",
    "model.generator.latent_size=8",
    "model.generator.filters=[16, 8]",
    "model.discriminator.filters=[8, 16]",
    "training.generator_optimizer.name=adam",
    "training.discriminator_optimizer.name=adam",
]


def gradients(state: State) -> State:
    """Adam's first moment after the first step is 0.1 times the gradient."""
    return {name: array / 0.1 for name, array in state.items() if name.endswith("_momentum")}


def assert_gradients_close(one: State, many: State, tolerance: float = 1e-5) -> None:
    wanted, found = gradients(one), gradients(many)
    is_conditional = any("class_embedding" in name for name in wanted)
    # Every trainable weight of G (3 layers, 2 norms) and of D (3 layers); two more for classes.
    assert len(wanted) == 10 + 6 + 2 * is_conditional
    for name, gradient in wanted.items():
        np.testing.assert_allclose(
            found[name],
            gradient,
            rtol=0,
            atol=tolerance * max(1.0, np.abs(gradient).max()),
            err_msg=name,
        )


def assert_same_state(ranks: list[State]) -> None:
    for name, array in ranks[0].items():
        if name == "latents":
            continue
        for rank, other in enumerate(ranks[1:], start=1):
            assert np.array_equal(array, other[name]), f"rank {rank} differs in {name}"


LOCAL = [*TINY, "training.batch_norm=local", "training.ema_decay=0.9"]
SYNCHRONIZED = {
    "synchronized": Case([*TINY, "training.batch_norm=synchronized"])
}  # dropout included
CONDITIONAL = {
    "conditional": Case([*TINY, "training.batch_norm=synchronized"], num_classes=3),
}
WITHOUT_NORM = {
    "without-norm": Case([*TINY, "model.generator.normalize=none", "training.updates=simultaneous"])
}
# Everything that makes D smooth, or sees fewer images: from its own noise for each image.
REGULARIZED = {
    "regularized": Case(
        [
            *TINY,
            "training.batch_norm=synchronized",
            "training.objective={name: relativistic, r1_gamma: 1, r2_gamma: 1}",
            "training.augment={mode: fixed, probability: 0.7}",
            "training.ema_half_life_images=100",
            "training.schedule={images: 100, learning_rate_factor: 0.5, beta_2: 0.9}",
            "model.discriminator.spectral_norm=true",
        ]
    ),
    "adaptive": Case(
        [
            *TINY,
            "training.batch_norm=synchronized",
            "training.objective={name: hinge, r1_gamma: 1, penalty: finite_difference}",
            "training.objective.penalty_every=2",
            "training.augment={mode: adaptive, target: -1, adapt_images: 480}",
        ],
        steps=5,
    ),
}
REPEATED = {
    "plain": Case([*LOCAL, "training.updates=alternating"], steps=3),
    "xla": Case([*LOCAL, "training.updates=simultaneous", "training.jit_compile=true"], steps=3),
}


Groups = dict[int, dict[str, list[State]]]  # by number of workers and by case


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Groups:
    """The same global batches, however many workers share them."""
    folder: Path = tmp_path_factory.mktemp("groups")
    cases = {
        1: SYNCHRONIZED | CONDITIONAL | WITHOUT_NORM | REGULARIZED,
        2: SYNCHRONIZED | CONDITIONAL | WITHOUT_NORM,
        3: SYNCHRONIZED | CONDITIONAL | REGULARIZED,
    }
    return {count: train_group(folder / str(count), count, each) for count, each in cases.items()}


@pytest.fixture(scope="module")
def with_devices(tmp_path_factory: pytest.TempPathFactory) -> Groups:
    """The same batches again, shared by workers of two replicas each."""
    folder: Path = tmp_path_factory.mktemp("devices")
    cases = SYNCHRONIZED | CONDITIONAL | REGULARIZED | {"local": Case(LOCAL, steps=2)}
    return {
        count: train_group(folder / str(count), count, cases, num_devices=2) for count in (1, 2)
    }


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[State]]]:
    """Two workers twice, in processes that share no hash seed and no addresses with the first."""
    folder, after = tmp_path_factory.mktemp("repeated"), SYNCHRONIZED | REPEATED
    return [
        train_group(folder / "first", 2, after),
        train_group(folder / "again", 2, REPEATED, fork=False),
    ]


@pytest.mark.parametrize("case", ["synchronized", "conditional"])
@pytest.mark.parametrize("count", [2, 3])
def test_the_gradient_of_many_workers_is_that_of_one(groups: Groups, count: int, case: str) -> None:
    one, many = groups[1][case][0], groups[count][case][0]
    assert_gradients_close(one, many)
    np.testing.assert_allclose(many["metrics"][:, :4], one["metrics"][:, :4], rtol=1e-5)
    assert (
        many["metrics"][:, 4:] >= one["metrics"][:, 4:] * (1 - 1e-5)
    ).all()  # sums of norms of parts


@pytest.mark.parametrize("case", ["synchronized", "conditional"])
@pytest.mark.parametrize("count", [2, 3])
def test_all_workers_hold_the_same_state(groups: Groups, count: int, case: str) -> None:
    assert_same_state(groups[count][case])


def test_replicas_draw_other_noise_and_together_that_of_one(groups: Groups) -> None:
    one = groups[1]["synchronized"][0]["latents"]
    for count in (2, 3):
        parts = [state["latents"] for state in groups[count]["synchronized"]]
        assert not np.isin(parts[0], parts[1]).any()
        assert np.array_equal(np.concatenate(parts), one)


def test_all_workers_get_the_chiefs_value_and_the_sum(groups: Groups) -> None:
    assert [state["agreed"].tolist() for state in groups[3]["synchronized"]] == [[100, 0b111]] * 3


@pytest.mark.live
@pytest.mark.parametrize("case", REPEATED)
def test_local_statistics_are_averaged_and_runs_repeat_bit_for_bit(
    repeated: list[dict[str, list[State]]], case: str
) -> None:
    """Also as the first thing that the processes do, and not the second."""
    first, again = repeated[0][case], repeated[1][case]
    assert_same_state(first)
    moving = [name for name in first[0] if "moving_" in name]
    assert len(moving) == 8  # of two norms of G, and their averages over steps
    assert first[0].keys() == again[0].keys()
    for name, array in first[0].items():
        assert np.array_equal(array, again[0][name]), f"another run differs in {name}"


def test_without_batch_norm_local_and_one_worker_agree(groups: Groups) -> None:
    one, two = (gradients(groups[count]["without-norm"][0]) for count in (1, 2))
    for name, gradient in one.items():
        np.testing.assert_allclose(
            two[name], gradient, rtol=0, atol=1e-5 * max(1.0, np.abs(gradient).max()), err_msg=name
        )


@pytest.mark.live
@pytest.mark.parametrize("case", ["synchronized", "conditional"])
@pytest.mark.parametrize("count", [1, 2])
def test_workers_of_two_replicas_take_the_gradient_of_one(
    groups: Groups, with_devices: Groups, count: int, case: str
) -> None:
    one, ranks = groups[1][case][0], with_devices[count][case]
    assert_same_state(ranks)
    assert_gradients_close(one, ranks[0])
    np.testing.assert_allclose(ranks[0]["metrics"][:, :4], one["metrics"][:, :4], rtol=1e-5)
    assert np.array_equal(np.concatenate([state["latents"] for state in ranks]), one["latents"])


@pytest.mark.parametrize(
    ("fixture", "count"), [("groups", 3), pytest.param("with_devices", 2, marks=pytest.mark.live)]
)
def test_penalties_and_augmentation_do_not_depend_on_the_number_of_replicas(
    groups: Groups, request: pytest.FixtureRequest, fixture: str, count: int
) -> None:
    """Three workers of one replica, two workers of two."""
    others = request.getfixturevalue(fixture)[count]
    for case in REGULARIZED:
        assert_same_state(others[case])
    one, many = groups[1]["regularized"][0], others["regularized"][0]
    assert_gradients_close(one, many)
    np.testing.assert_allclose(many["metrics"][:, :4], one["metrics"][:, :4], rtol=1e-5)
    one, many = groups[1]["adaptive"][0], others["adaptive"][0]
    for name in ("probability", "sign_sum"):
        key = f"augmentation.npz/{name}"
        np.testing.assert_allclose(many[key], one[key], rtol=1e-5)
    # 48 images after four steps, of the 480 from 0 to 1.
    np.testing.assert_allclose(many["augmentation.npz/probability"], 0.1, rtol=1e-5)


@pytest.mark.live
@pytest.mark.parametrize("case", ["synchronized", "local", *REGULARIZED])
@pytest.mark.parametrize("count", [1, 2])
def test_the_replicas_of_a_worker_hold_the_same_bits_also_after_a_restore(
    with_devices: Groups, count: int, case: str
) -> None:
    assert_same_state(with_devices[count][case])
    assert [state["unequal"].tolist() for state in with_devices[count][case]] == [[]] * count


@pytest.mark.live
def test_a_worker_of_two_replicas_counts_once(with_devices: Groups) -> None:
    assert [state["agreed"].tolist() for state in with_devices[2]["local"]] == [[100, 0b11]] * 2
