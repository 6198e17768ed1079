"""Generated images: a function of seed and index, written whole or not at all, in every format."""

import dataclasses
import io
import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.errors import ConfigError, StorageError
from job.config.load import load_run
from job.config.spec import RunSpec
from job.config.storage import StorageSpec
from job.data.index import read_index
from job.data.verify import verify
from job.gan.generator import build_generator, generator_sizes
from job.gan.networks import build_networks
from job.storage.uri import open_store
from job.synthesis.images import image_blocks
from job.synthesis.source import load_generator
from job.synthesis.writers import MAX_GRID_IMAGES, open_destination, write_images
from job.training import snapshot
from job.training.identity import model_identity, settings_of
from tests.data.samples import packed_rows

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def generator():
    spec = load_run(
        "fashion",
        overrides=[
            "uri=a",
            "data.uri=b",
            "model.generator.latent_size=10",
            "model.generator.filters=[8, 4]",
        ],
    )
    return build_generator(spec.model, 0)


def whole(generator, seed: int, num_images: int, start: int = 0) -> np.ndarray:
    return np.concatenate(list(image_blocks(generator, seed, num_images, start)))


def test_an_image_depends_on_seed_and_index_alone(generator) -> None:
    images = whole(generator, 3, 200)
    assert images.shape == (200, 28, 28, 1)
    assert images.dtype == np.uint8
    for num_images, start in ((1, 0), (1, 199), (64, 64), (70, 60), (5, 127)):
        assert np.array_equal(
            whole(generator, 3, num_images, start), images[start : start + num_images]
        )
    assert not np.array_equal(whole(generator, 4, 1), images[:1])
    assert len({image.tobytes() for image in images}) == 200


def write(generator, form: str, out: Path, num_images: int = 70, start: int = 0) -> str:
    destination = open_destination(form, str(out), StorageSpec(), num_images, start)
    return write_images(destination, image_blocks(generator, 0, num_images, start), "run#seed=0")


def test_png_files_are_named_by_index(generator, tmp_path: Path) -> None:
    write(generator, "png", tmp_path / "out", 3, start=63)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "000000063.png",
        "000000064.png",
        "000000065.png",
    ]
    pixels = np.asarray(Image.open(tmp_path / "out" / "000000064.png"))
    assert np.array_equal(pixels, whole(generator, 0, 1, 64)[0, :, :, 0])


@pytest.mark.parametrize("name", ["images.npz", ""])
def test_npz_loads_with_numpy(generator, tmp_path: Path, name: str) -> None:
    uri = write(
        generator, "npz", tmp_path / "out" / name if name else tmp_path / "out", 70, start=10
    )
    assert uri.endswith("/out/images.npz")
    with np.load(tmp_path / "out" / "images.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["images"], whole(generator, 0, 70, 10))
        assert np.array_equal(archive["indices"], np.arange(10, 80))


def test_shards_are_a_data_set_to_train_on(generator, tmp_path: Path) -> None:
    write(generator, "shards", tmp_path / "out")
    store = open_store(str(tmp_path / "out"))
    index = read_index(store)
    assert verify(store, index) == []
    assert (index.num_rows, index.source.kind, index.source.uri) == (70, "generated", "run#seed=0")
    assert np.array_equal(packed_rows(tmp_path / "out", index), whole(generator, 0, 70))
    with pytest.raises(ConfigError, match="holds a data set already"):
        write(generator, "shards", tmp_path / "out")


def test_a_grid_is_one_picture_and_has_a_limit(generator, tmp_path: Path) -> None:
    assert write(generator, "grid", tmp_path / "grid.png", 7).endswith("/grid.png")
    width, height = Image.open(io.BytesIO((tmp_path / "grid.png").read_bytes())).size
    assert width == height  # 3 x 3 cells
    with pytest.raises(ConfigError, match=f"expected at most {MAX_GRID_IMAGES}"):
        write(generator, "grid", tmp_path / "grid.png", MAX_GRID_IMAGES + 1)


@pytest.mark.parametrize("form", ["png", "npz", "shards", "grid"])
def test_nothing_is_left_of_what_failed(generator, tmp_path: Path, form: str) -> None:
    def breaking():
        yield next(image_blocks(generator, 0, 64))
        raise StorageError("the disk is gone")

    out = tmp_path / "out"
    with pytest.raises(StorageError, match="the disk is gone"):
        write_images(open_destination(form, str(out), StorageSpec(), 128, 0), breaking(), "run")
    assert not [path for path in out.rglob("*") if path.is_file()]


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


def spec_of(preset: str, *overrides: str) -> RunSpec:
    small = [
        "uri=a",
        "data.uri=b",
        "model.generator.filters=[8, 4]",
        "model.discriminator.filters=[4, 8]",
    ]
    return load_run(preset, overrides=[*small, *overrides])


def save_run(folder: Path, spec: RunSpec, *steps: int) -> Checkpoints:
    """Checkpoints with other weights in each variable, saved as training saves them."""
    networks, random = build_networks(spec), np.random.default_rng(3)
    for variable in (*networks.generator.variables, *networks.ema):
        variable.assign(np.abs(random.normal(0, 0.2, variable.shape)).astype(np.float32))
    checkpoints = Checkpoints(open_store(str(folder)))
    parts = snapshot.to_parts(snapshot.take(networks, 10), snapshot.Exporter(spec))
    for step in steps:
        facts = Manifest(
            step,
            step * 64,
            "now",
            model_identity(spec),
            "f" * 64,
            {},
            1,
            {},
            {},
            (),
            settings_of(spec),
        )
        checkpoints.save(facts, parts)
    return checkpoints


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with checkpoints of steps 10 and 20."""
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, spec_of("fashion"), 10, 20)
    return folder


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
    sizes = generator_sizes(spec.model)
    assert sizes.num_trainable == sum(
        math.prod(variable.shape) for variable in rebuilt.trainable_variables
    )
    assert sizes.num_statistics == sum(
        math.prod(variable.shape) for variable in rebuilt.non_trainable_variables
    )
    assert sizes.largest_output == max(
        math.prod(layer.output.shape[1:]) for layer in rebuilt.layers
    )


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
        r"generator.npz has .* bytes by the manifest; expected about",
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


def test_images_that_are_there_are_not_mixed_with_others(generator, tmp_path: Path) -> None:
    write(generator, "png", tmp_path / "out", 4, start=0)
    write(generator, "png", tmp_path / "out", 4, start=4)  # the next part
    with pytest.raises(ConfigError, match=r"holds 000000007.png already"):
        write(generator, "png", tmp_path / "out", 4, start=7)
    assert len(list((tmp_path / "out").glob("*.png"))) == 8


@pytest.mark.parametrize(("form", "name"), [("grid", "o.jpg"), ("grid", "o.npz"), ("npz", "o.png")])
def test_a_file_of_another_kind_is_refused(generator, tmp_path: Path, form: str, name: str) -> None:
    with pytest.raises(
        ConfigError,
        match=f"expected a folder, or a file that ends in .{'png' if form == 'grid' else 'npz'}",
    ):
        write(generator, form, tmp_path / name, 4)
    assert list(tmp_path.iterdir()) == []


def test_the_case_of_an_ending_does_not_matter(generator, tmp_path: Path) -> None:
    write(generator, "grid", tmp_path / "o.PNG", 4)
    assert (tmp_path / "o.PNG").is_file()


def test_a_full_temporary_folder_is_named(
    generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/full")
    with pytest.raises(
        StorageError, match=r"/dev/full: cannot hold a temporary file .* set TMPDIR"
    ):
        write(generator, "npz", tmp_path / "out")
