"""Several processes, one strategy: the same state everywhere, other noise everywhere, and the gradient of one process."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.group import train_group

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]

TINY = [
    "training.global_batch_size=12",
    "model.generator.latent_size=8",
    "model.generator.filters=[16, 8]",
    "model.discriminator.filters=[8, 16]",
    "training.generator_optimizer.name=adam",
    "training.discriminator_optimizer.name=adam",
]
State = dict[str, np.ndarray]


def gradients(state: State) -> State:
    """Adam's first moment after the first step is 0.1 times the gradient."""
    return {name: array / 0.1 for name, array in state.items() if name.endswith("_momentum")}


def assert_gradients_close(one: State, many: State, tolerance: float = 1e-5) -> None:
    wanted, found = gradients(one), gradients(many)
    assert len(wanted) == 10 + 6  # every trainable weight of G (3 layers, 2 norms) and of D (3 layers)
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=tolerance * max(1.0, np.abs(gradient).max()), err_msg=name)


def assert_same_state(ranks: list[State]) -> None:
    for name, array in ranks[0].items():
        if name == "latents":
            continue
        for rank, other in enumerate(ranks[1:], start=1):
            assert np.array_equal(array, other[name]), f"rank {rank} differs in {name}"


@pytest.fixture(scope="module")
def synchronized(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[State]]:
    """One step on the same global batch with 1, 2 and 3 workers, dropout and synchronized batch norm included."""
    folder: Path = tmp_path_factory.mktemp("synchronized")
    return {count: train_group(folder / str(count), count, [*TINY, "training.batch_norm=synchronized"]) for count in (1, 2, 3)}


@pytest.mark.parametrize("count", [2, 3])
def test_the_gradient_of_many_workers_is_that_of_one(synchronized: dict[int, list[State]], count: int) -> None:
    assert_gradients_close(synchronized[1][0], synchronized[count][0])
    one, many = synchronized[1][0]["metrics"], synchronized[count][0]["metrics"]
    np.testing.assert_allclose(many[:, :4], one[:, :4], rtol=1e-5)
    assert (many[:, 4:] >= one[:, 4:] * (1 - 1e-5)).all()  # sums of norms of parts


@pytest.mark.parametrize("count", [2, 3])
def test_all_workers_hold_the_same_state(synchronized: dict[int, list[State]], count: int) -> None:
    assert_same_state(synchronized[count])


def test_replicas_draw_other_noise_and_together_that_of_one(synchronized: dict[int, list[State]]) -> None:
    one = synchronized[1][0]["latents"]
    for count in (2, 3):
        parts = [state["latents"] for state in synchronized[count]]
        assert not np.isin(parts[0], parts[1]).any()
        assert np.array_equal(np.concatenate(parts), one)


def test_the_chiefs_word_is_everyones(synchronized: dict[int, list[State]]) -> None:
    assert [state["agreed"].tolist() for state in synchronized[3]] == [[100, 0b111]] * 3


@pytest.mark.parametrize(
    "options", [["training.updates=alternating"], ["training.updates=simultaneous", "training.jit_compile=true"]], ids=["plain", "xla"]
)
def test_local_statistics_are_averaged_and_runs_repeat_bit_for_bit(tmp_path: Path, options: list[str]) -> None:
    overrides = [*TINY, "training.batch_norm=local", "training.ema_decay=0.9", *options]
    first, again = (train_group(tmp_path / name, 2, overrides, steps=3) for name in ("first", "again"))
    assert_same_state(first)
    moving = [name for name in first[0] if "moving_" in name]
    assert len(moving) == 4  # two norms of G
    for name, array in first[0].items():
        assert np.array_equal(array, again[0][name]), f"another run differs in {name}"


def test_without_batch_norm_local_and_one_worker_agree(tmp_path: Path) -> None:
    overrides = [*TINY, "model.generator.normalize=none", "training.updates=simultaneous"]
    one, two = (train_group(tmp_path / str(count), count, overrides)[0] for count in (1, 2))
    for name, gradient in gradients(one).items():
        np.testing.assert_allclose(gradients(two)[name], gradient, rtol=0, atol=1e-5 * max(1.0, np.abs(gradient).max()), err_msg=name)
