"""The generator of a checkpoint: rebuilt from the manifest's model, never from the Keras file."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import StorageError
from job.gan.latents import sample_latents
from job.gan.step import encode
from job.gan.streams import Purpose
from job.storage.uri import open_store
from job.synthesis.classes import ClassPlan
from job.synthesis.images import image_blocks
from job.synthesis.source import load_generator
from tests.synthesis.runs import CLASSES, save_run, spec_of, whole

pytestmark = pytest.mark.training

MODELS = {
    "averaged": ["fashion"],
    "plain": ["notebook"],
    "bfloat16": ["fashion", "training.precision=bfloat16"],
    "transposed": [
        "fashion",
        "model.generator.upsampling=transposed",
        "model.generator.normalize=before_activation",
        "model.channels=3",
    ],
    "without norm": ["notebook", "model.generator.normalize=none", "model.generator.filters=[8]"],
}


@pytest.mark.parametrize("model", MODELS)
def test_the_rebuilt_generator_makes_the_images_of_the_keras_file(
    tmp_path: Path, model: str
) -> None:
    """Bit for bit."""
    spec = spec_of(*MODELS[model])
    save_run(tmp_path, spec, 10)
    exported = keras.models.load_model(
        tmp_path / "checkpoints" / "step-000000010" / "generator.keras", compile=False
    )
    rebuilt = load_generator(str(tmp_path)).generator
    assert [(variable.path, variable.dtype) for variable in rebuilt.variables] == [
        (each.path, each.dtype) for each in exported.variables
    ]
    latents = (
        np.random.default_rng(0)
        .normal(size=(64, spec.model.generator.latent_size))
        .astype(np.float32)
    )
    assert np.array_equal(rebuilt(latents, training=False), exported(latents, training=False))
    assert np.array_equal(whole(rebuilt, 0, 70), whole(exported, 0, 70))


@pytest.mark.parametrize("is_earlier", [False, True])
@pytest.mark.parametrize("embedding_size", ["null", "100"])
def test_a_conditional_generator_is_rebuilt_and_makes_the_images_of_its_classes(
    tmp_path: Path, embedding_size: str, is_earlier: bool
) -> None:
    """Also that of an earlier version, whose manifest does not have the length of embeddings."""
    size = f"model.generator.embedding_size={embedding_size}"
    checkpoints = save_run(tmp_path, spec_of("fashion", "model.conditional=true", size), 10)
    path = tmp_path / "checkpoints" / "step-000000010" / "generator.keras"
    if is_earlier:
        manifest = checkpoints.manifest(10)
        del manifest.model["generator"]["embedding_size"]
        (path.parent / "manifest.json").write_bytes(manifest.to_json())
    exported = keras.models.load_model(path, compile=False)
    source = load_generator(str(tmp_path))
    assert source.classes == CLASSES
    plan = ClassPlan(("cat", "dog", "owl"), (3, 4, 1))
    made = np.concatenate(list(image_blocks(source.generator, 0, 70, classes=plan)))
    latents = sample_latents(0, Purpose.LATENTS_GENERATE, 0, 0, 64, 100)
    labels = plan.labels(0, 64)
    assert len(set(labels.tolist())) == 3
    assert np.array_equal(
        made[:64], encode(exported([latents, tf.constant(labels)], training=False))
    )
    part = np.concatenate(list(image_blocks(source.generator, 0, 5, 65, classes=plan)))
    assert np.array_equal(part, made[65:70])


def test_the_keras_file_is_not_read(run_folder: Path, tmp_path: Path) -> None:
    """Replace it with a file of another size and content, and a manifest that matches."""
    shutil.copytree(run_folder, tmp_path / "run")
    images = whole(load_generator(str(tmp_path / "run")).generator, 0, 3)
    checkpoints = Checkpoints(open_store(str(tmp_path / "run")))
    manifest = checkpoints.manifest(20)
    checkpoints.save(
        manifest, {**checkpoints.read(manifest), "generator.keras": b"PK\3\4 a layer of a terabyte"}
    )
    assert np.array_equal(whole(load_generator(str(tmp_path / "run")).generator, 0, 3), images)


HOSTILE = {
    "a network of terabytes": (
        {"generator": {"latent_size": 10**9}},
        "expected at most",
    ),
    "one that is too small": (
        {"generator": {"latent_size": 1}},
        r"generator.npz has .* bytes by the manifest; expected about",
    ),
    "a large kernel": (
        {"generator": {"kernel_size": 10**9 + 1}},
        "bytes by the manifest; expected about",
    ),
    "images of terabytes": (
        {"image_size": [2**24, 2**24], "generator": {"filters": [1] * 16, "latent_size": 1}},
        "expected at most",
    ),
    "very many layers": (
        {"generator": {"filters": [1] * 20_000}},
        "model.generator.filters has 20000 entries; expected at most 16",
    ),
    "very large numbers": (
        {"image_size": [10**300, 10**300], "generator": {"kernel_size": 10**300 + 1}},
        "manifest",
    ),
    "no layer": ({"generator": {"filters": []}}, "model.generator.filters is"),
    "a wrong type": (
        {"generator": {"latent_size": "100"}},
        r"model.generator.latent_size is '100' \(text\); expected a whole number",
    ),
    "a choice that is none": (
        {"generator": {"activation": "lambda"}},
        "model.generator.activation is 'lambda'; expected one of",
    ),
    "a long text": (
        {"generator": {"activation": "x" * 9000}},
        "model.generator.activation is 'xxx",
    ),
    "an unknown key": ({"layers": [1]}, "model.layers: unknown key"),
    "no section": ({"generator": 7}, "model.generator is 7; expected a section"),
    "odd size": ({"image_size": [27, 28]}, "model.image_size has height 27"),
    "averaged by halves": ({"averaged": 0.5}, r"model.averaged 0.5; expected .* true or false"),
    "not averaged there": ({"averaged": True}, "generator_ema.npz has 0 bytes by the manifest"),
    "another order of layers": ({"generator": {"normalize": "none"}}, "generator.npz: missing"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_refused_before_anything_is_allocated(
    tmp_path: Path, what: str
) -> None:
    """Nothing of a part is read, but where only its content can show that it does not fit."""
    checkpoints = save_run(tmp_path, spec_of("notebook"), 10)
    manifest = checkpoints.manifest(10)
    changed, text = HOSTILE[what]
    generator = (
        {**manifest.model["generator"], **changed["generator"]}
        if isinstance(changed.get("generator"), dict)
        else None
    )
    model = {**manifest.model, **changed} | ({"generator": generator} if generator else {})
    path = tmp_path / "checkpoints" / "step-000000010" / "manifest.json"
    path.write_bytes(dataclasses.replace(manifest, model=model).to_json())
    if what != "another order of layers":
        for part in path.parent.glob("*.npz"):
            part.write_bytes(b"")
    with pytest.raises(StorageError, match=text) as raised:
        load_generator(str(tmp_path))
    assert str(tmp_path) in str(raised.value)
    assert len(str(raised.value)) < 800


def test_a_precision_that_is_none_is_refused(tmp_path: Path) -> None:
    checkpoints = save_run(tmp_path, spec_of("notebook"), 10)
    manifest = checkpoints.manifest(10)
    path = tmp_path / "checkpoints" / "step-000000010" / "manifest.json"
    path.write_bytes(
        dataclasses.replace(manifest, settings={"training.precision": "float8"}).to_json()
    )
    with pytest.raises(StorageError, match=r"training\.precision is 'float8'"):
        load_generator(str(tmp_path))


@pytest.mark.parametrize(
    ("suffix", "step"),
    [
        ("", 20),
        ("/", 20),
        ("/checkpoints/step-000000010", 10),
        ("/checkpoints/step-000000010/", 10),
    ],
)
def test_a_checkpoint_or_a_run_folder_names_the_generator(
    run_folder: Path, suffix: str, step: int
) -> None:
    source = load_generator(f"{run_folder}{suffix}")
    assert source.step == step
    assert source.generator.output_shape == (None, 28, 28, 1)


def test_a_place_without_checkpoints_is_refused(tmp_path: Path, run_folder: Path) -> None:
    for uri in (str(tmp_path), f"{run_folder}/checkpoints/step-000000015"):
        with pytest.raises(StorageError, match="no committed checkpoint here"):
            load_generator(uri)
