"""Generated images: a function of seed and index, written whole or not at all, in every format."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.errors import ConfigError, StorageError
from job.config.load import load_run
from job.config.storage import StorageSpec
from job.data.index import read_index
from job.data.verify import verify
from job.gan.generator import build_generator
from job.gan.networks import build_networks
from job.storage.uri import open_store
from job.synthesis.images import image_blocks
from job.synthesis.source import load_generator
from job.synthesis.writers import MAX_GRID_IMAGES, write_images
from job.training import snapshot
from tests.data.samples import packed_rows

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def generator():
    spec = load_run("fashion", overrides=["uri=a", "data.uri=b", "model.generator.latent_size=10", "model.generator.filters=[8, 4]"])
    return build_generator(spec.model, 0)


def whole(generator, seed: int, num_images: int, start: int = 0) -> np.ndarray:
    return np.concatenate(list(image_blocks(generator, seed, num_images, start)))


def test_an_image_depends_on_seed_and_index_alone(generator) -> None:
    images = whole(generator, 3, 200)
    assert images.shape == (200, 28, 28, 1)
    assert images.dtype == np.uint8
    for num_images, start in ((1, 0), (1, 199), (64, 64), (70, 60), (5, 127)):
        assert np.array_equal(whole(generator, 3, num_images, start), images[start : start + num_images])
    assert not np.array_equal(whole(generator, 4, 1), images[:1])
    assert len({image.tobytes() for image in images}) == 200


def write(generator, form: str, out: Path, num_images: int = 70, start: int = 0) -> str:
    return write_images(form, str(out), StorageSpec(), image_blocks(generator, 0, num_images, start), num_images, start, "run#seed=0")


def test_png_files_are_named_by_index(generator, tmp_path: Path) -> None:
    write(generator, "png", tmp_path / "out", 3, start=63)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["000000063.png", "000000064.png", "000000065.png"]
    pixels = np.asarray(Image.open(tmp_path / "out" / "000000064.png"))
    assert np.array_equal(pixels, whole(generator, 0, 1, 64)[0, :, :, 0])


@pytest.mark.parametrize("name", ["images.npz", ""])
def test_npz_loads_with_numpy(generator, tmp_path: Path, name: str) -> None:
    uri = write(generator, "npz", tmp_path / "out" / name if name else tmp_path / "out", 70, start=10)
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
        write_images(form, str(out), StorageSpec(), breaking(), 128, 0, "run")
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with checkpoints of steps 10 and 20, saved as training saves them."""
    spec = load_run("fashion", overrides=["uri=a", "data.uri=b", "model.generator.filters=[8, 4]", "model.discriminator.filters=[4, 8]"])
    networks = build_networks(spec)
    folder = tmp_path_factory.mktemp("run")
    parts = snapshot.to_parts(snapshot.take(networks, 10), snapshot.Exporter(spec))
    for step in (10, 20):
        facts = Manifest(step, step * 64, "now", {}, "f" * 64, {}, 1, {}, {}, ())
        Checkpoints(open_store(str(folder))).save(facts, parts)
    return folder


@pytest.mark.parametrize(
    ("suffix", "step"), [("", 20), ("/", 20), ("/checkpoints/step-000000010", 10), ("/checkpoints/step-000000010/", 10)]
)
def test_a_checkpoint_or_a_run_folder_names_the_generator(run_folder: Path, suffix: str, step: int) -> None:
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
    with pytest.raises(ConfigError, match=f"expected a folder, or a file that ends in .{'png' if form == 'grid' else 'npz'}"):
        write(generator, form, tmp_path / name, 4)
    assert list(tmp_path.iterdir()) == []


def test_the_case_of_an_ending_does_not_matter(generator, tmp_path: Path) -> None:
    write(generator, "grid", tmp_path / "o.PNG", 4)
    assert (tmp_path / "o.PNG").is_file()


def test_a_full_temporary_folder_is_named(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/full")
    with pytest.raises(StorageError, match=r"/dev/full: cannot hold a temporary file .* set TMPDIR"):
        load_generator(str(run_folder))
