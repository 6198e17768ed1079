"""The saved state: it comes back exactly, it never holds a pickle, and a plain Keras loads the generator."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DivergedError, StorageError
from job.config.load import load_run
from job.config.spec import RunSpec
from job.gan.networks import Networks, build_networks
from job.training import snapshot

pytestmark = pytest.mark.training

TINY = [
    "uri=a",
    "data.uri=b",
    "model.generator.latent_size=4",
    "model.generator.filters=[8, 4]",
    "model.discriminator.filters=[4, 8]",
]


def spec_of(*overrides: str, preset: str = "fashion") -> RunSpec:
    return load_run(preset, overrides=[*TINY, *overrides])


def scrambled(spec: RunSpec, seed: int = 5) -> Networks:
    """Networks whose every variable, optimizer slots included, has a value of its own."""
    networks = build_networks(spec)
    random = np.random.default_rng(seed)
    for holder in networks[:4]:
        for variable in holder.variables:
            variable.assign(
                random.integers(1, 9, variable.shape)
                if "int" in variable.dtype
                else random.normal(size=variable.shape)
            )
    for average in networks.ema:
        average.assign(random.normal(size=average.shape).astype(np.float32))
    return networks


def parts_of(networks: Networks, spec: RunSpec) -> dict[str, bytes]:
    """What a checkpoint of these networks holds."""
    return snapshot.to_parts(snapshot.take(networks, 7), snapshot.Exporter(spec))


def arrays_of(parts: dict[str, bytes]) -> dict[str, np.ndarray]:
    found = {}
    for part, data in parts.items():
        if not part.endswith(".npz"):
            continue
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            found.update({f"{part}/{name}": archive[name] for name in archive.files})
    return found


@pytest.mark.parametrize("preset", ["fashion", "notebook"])
def test_the_state_comes_back_bit_for_bit(preset: str) -> None:
    spec = spec_of(preset=preset)
    saved = parts_of(scrambled(spec), spec)
    fresh = build_networks(spec)
    snapshot.put(fresh, saved, spec)
    wanted, found = arrays_of(saved), arrays_of(parts_of(fresh, spec))
    assert wanted.keys() == found.keys()
    differing = [name for name, array in wanted.items() if not np.array_equal(array, found[name])]
    assert all(
        "learning_rate" in name for name in differing
    )  # those are the configuration's, not the checkpoint's
    assert ("generator_ema.npz" in saved) == (preset == "fashion")


def test_a_changed_learning_rate_is_taken_from_the_configuration() -> None:
    saved = parts_of(scrambled(spec_of()), spec_of())
    spec = spec_of("training.generator_optimizer.learning_rate=0.125")
    fresh = build_networks(spec)
    snapshot.put(fresh, saved, spec)
    assert float(fresh.generator_optimizer.learning_rate.numpy()) == 0.125


def test_parts_hold_plain_arrays_only() -> None:
    parts = parts_of(scrambled(spec_of()), spec_of())
    assert parts.pop("generator.keras")
    for data in parts.values():
        assert all(name.endswith(".npy") for name in zipfile.ZipFile(io.BytesIO(data)).namelist())


def test_weights_that_are_not_finite_are_not_saved() -> None:
    networks = scrambled(spec_of())
    networks.generator.trainable_variables[0].assign(
        np.full(networks.generator.trainable_variables[0].shape, np.nan)
    )
    with pytest.raises(DivergedError, match=r"step 7: generator project/kernel is not finite"):
        parts_of(networks, spec_of())


def test_a_snapshot_does_not_follow_the_training() -> None:
    networks = scrambled(spec_of())
    taken = snapshot.take(networks, 7)
    before = snapshot.to_parts(taken, snapshot.Exporter(spec_of()))
    for holder in networks[:4]:
        for variable in holder.variables:
            variable.assign(variable + 1)
    after = snapshot.to_parts(taken, snapshot.Exporter(spec_of()))
    assert {name: data for name, data in before.items() if name.endswith(".npz")} == {
        n: d for n, d in after.items() if n.endswith(".npz")
    }


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("model.generator.filters=[16, 4]", "has shape"),
        ("training.ema_decay=0.5", "checkpoint has no generator_ema.npz"),
        ("model.generator.normalize=none", "not known here"),
    ],
)
def test_another_models_state_is_refused(other: str, message: str) -> None:
    saved = parts_of(scrambled(spec_of("training.ema_decay=0")), spec_of("training.ema_decay=0"))
    spec = spec_of(*([] if "ema" in other else ["training.ema_decay=0"]), other)
    with pytest.raises(StorageError, match=message):
        snapshot.put(build_networks(spec), saved, spec)


@pytest.mark.parametrize("preset", ["fashion", "notebook"])
def test_a_plain_keras_loads_the_generator(tmp_path: Path, preset: str) -> None:
    spec = spec_of(preset=preset)
    networks = scrambled(spec)
    exporter = snapshot.Exporter(spec)
    (tmp_path / "generator.keras").write_bytes(exporter.to_keras(snapshot.shown_weights(networks)))
    latents = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.save(tmp_path / "latents.npy", latents)
    script = (
        "import keras, numpy as np, sys\n"
        "images = keras.models.load_model('generator.keras')(np.load('latents.npy'), training=False)\n"
        "assert not [name for name in sys.modules if name == 'job' or name.startswith('job.')]\n"
        "np.save('images.npy', images)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)
    exported = exporter.load(snapshot.shown_weights(networks))
    for variable, average in zip(
        exported.trainable_variables, networks.ema, strict=bool(networks.ema)
    ):
        assert np.array_equal(variable, average)  # people see the averaged weights
    np.testing.assert_allclose(
        np.load(tmp_path / "images.npy"), exported(latents, training=False), atol=1e-6
    )


def test_what_does_not_fit_changes_nothing() -> None:
    spec = spec_of()
    networks = scrambled(spec)
    before = arrays_of(parts_of(networks, spec))
    others = parts_of(scrambled(spec, seed=6), spec)
    del others["discriminator_optimizer.npz"]  # after others that fit
    with pytest.raises(StorageError, match=r"checkpoint has no discriminator_optimizer\.npz"):
        snapshot.put(networks, others, spec)
    after = arrays_of(parts_of(networks, spec))
    assert all(np.array_equal(after[name], value) for name, value in before.items())
