"""The saved state: restored exactly, never a pickle; a plain Keras loads the generator."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DivergedError, StorageError
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import ImageClass
from job.gan.networks import Networks, build_networks, generator_weights
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


CLASSES = (ImageClass("cat", 3), ImageClass("dog", 4), ImageClass("owl", 1))


def scrambled(spec: RunSpec, seed: int = 5, num_classes: int = 0) -> Networks:
    """Return networks whose every variable, optimizer slots included, has another value."""
    networks = build_networks(spec, num_classes)
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


def parts_of(
    networks: Networks, spec: RunSpec, classes: tuple[ImageClass, ...] = ()
) -> dict[str, bytes]:
    """Return the parts of a checkpoint of these networks."""
    return snapshot.to_parts(snapshot.take(networks, 7), snapshot.Exporter(spec, classes))


def arrays_of(parts: dict[str, bytes]) -> dict[str, np.ndarray]:
    found = {}
    for part, data in parts.items():
        if not part.endswith(".npz"):
            continue
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            found.update({f"{part}/{name}": archive[name] for name in archive.files})
    return found


@pytest.mark.parametrize(
    ("preset", "classes"), [("fashion", ()), ("notebook", ()), ("fashion", CLASSES)]
)
def test_the_state_comes_back_bit_for_bit(preset: str, classes: tuple[ImageClass, ...]) -> None:
    spec, num_classes = spec_of(preset=preset), len(classes)
    saved = parts_of(scrambled(spec, num_classes=num_classes), spec, classes)
    fresh = build_networks(spec, num_classes)
    snapshot.put(fresh, saved, spec)
    wanted, found = arrays_of(saved), arrays_of(parts_of(fresh, spec, classes))
    assert wanted.keys() == found.keys()
    for name in ("generator.npz/class_embedding/kernel", "discriminator.npz/projection/kernel"):
        assert (name in wanted) == bool(classes)
    differing = [name for name, array in wanted.items() if not np.array_equal(array, found[name])]
    assert all(
        "learning_rate" in name for name in differing
    )  # those are the configuration's, not the checkpoint's
    assert ("generator_ema.npz" in saved) == (preset == "fashion")


def test_a_checkpoint_from_before_statistics_were_averaged_begins_with_the_newest() -> None:
    saved = parts_of(scrambled(spec_of()), spec_of())
    del saved[snapshot.EMA_STATISTICS]
    fresh = build_networks(spec_of())
    snapshot.put(fresh, saved, spec_of())
    generator = fresh.generator
    averages = fresh.ema[len(generator.trainable_variables) :]
    for average, statistic in zip(averages, generator.non_trainable_variables, strict=True):
        assert np.array_equal(average, statistic)
        assert not np.array_equal(average, np.zeros(average.shape))


def test_the_state_of_adaptive_augmentation_is_saved_and_may_be_missing() -> None:
    adaptive = spec_of("training.augment.mode=adaptive")
    networks, fresh, begun = (build_networks(adaptive) for _ in range(3))
    assert networks.adaptive is not None
    networks.adaptive.probability.assign(0.25)
    networks.adaptive.sign_sum.assign(-1.5)
    saved = parts_of(networks, adaptive)
    assert snapshot.ADAPTIVE in saved
    snapshot.put(fresh, saved, adaptive)
    assert [float(value) for value in fresh.adaptive or ()] == [0.25, -1.5]
    plain = build_networks(spec_of())
    snapshot.put(plain, saved, spec_of())
    old = parts_of(plain, spec_of())
    assert snapshot.ADAPTIVE not in old
    snapshot.put(begun, old, adaptive)
    assert [float(value) for value in begun.adaptive or ()] == [0.0, 0.0]


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
        ("training.ema_half_life_images=9", "checkpoint has no generator_ema.npz"),
        ("model.generator.normalize=none", "not known here"),
    ],
)
def test_another_models_state_is_refused(other: str, message: str) -> None:
    plain = spec_of("training.ema_half_life_images=null")
    saved = parts_of(scrambled(plain), plain)
    spec = spec_of("training.ema_half_life_images=null", other)
    with pytest.raises(StorageError, match=message):
        snapshot.put(build_networks(spec), saved, spec)


LOAD = """
import keras, numpy as np, sys
for name in ("fashion", "notebook"):
    generator = keras.models.load_model(f"{name}.keras")
    np.save(f"{name}.npy", generator(np.load("latents.npy"), training=False))
generator = keras.models.load_model("conditional.keras")
inputs = {"latents": np.load("latents.npy"), "label": np.load("labels.npy")}
np.save("conditional.npy", generator.predict(list(inputs.values()), verbose=0))
np.save("named.npy", generator.predict(inputs, verbose=0))
assert not [name for name in sys.modules if name == "job" or name.startswith("job.")]
"""


def test_a_plain_keras_loads_the_generators(tmp_path: Path) -> None:
    """In a process without this program; a conditional one by a list and by names."""
    latents = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    labels = np.array([2, 0, 1, 2], np.int32)
    np.save(tmp_path / "latents.npy", latents)
    np.save(tmp_path / "labels.npy", labels)
    wanted = {}
    for preset in ("fashion", "notebook"):
        spec = spec_of(preset=preset)
        networks = scrambled(spec)
        shown, exporter = snapshot.shown_weights(networks), snapshot.Exporter(spec)
        (tmp_path / f"{preset}.keras").write_bytes(exporter.to_keras(shown))
        exported = exporter.load(shown)
        wanted[preset] = exported(latents, training=False)
        weights = generator_weights(exported)
        for variable, average in zip(weights, networks.ema, strict=bool(networks.ema)):
            assert np.array_equal(variable, average)  # people see the averaged weights
    spec = spec_of("model.conditional=true")
    shown = snapshot.shown_weights(scrambled(spec, num_classes=3))
    exporter, path = snapshot.Exporter(spec, CLASSES), tmp_path / "conditional.keras"
    path.write_bytes(exporter.to_keras(shown))
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("classes.json")) == ["cat", "dog", "owl"]
    wanted["conditional"] = wanted["named"] = exporter.load(shown)(
        [latents, labels], training=False
    )
    subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, check=True, timeout=120)
    for name, images in wanted.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), images, atol=1e-6)


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
