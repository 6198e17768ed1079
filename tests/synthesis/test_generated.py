"""Images to score, from every kind of place: the right ones, of the right number and shape."""

from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.config.storage import StorageSpec
from job.data.rows import LabelledImages
from job.gan.generator import build_generator
from job.packing.pack import PackJob, PackSettings, pack
from job.synthesis import generated as module
from job.synthesis.classes import class_plan
from job.synthesis.generated import load_images
from job.synthesis.images import image_blocks
from job.synthesis.source import load_generator
from tests.data.samples import class_files, write_folder, write_zip
from tests.synthesis.runs import save_run, spec_of, whole

pytestmark = pytest.mark.training


def load(uri: Path | str, num_images: int, seed: int = 0, shape=(4, 4, 1)) -> LabelledImages:
    return load_images(str(uri), StorageSpec(), shape, num_images, seed).data


def classes_of(data: LabelledImages) -> list[str]:
    return [data.class_names[label] for label in data.labels]


@pytest.mark.parametrize("kind", ["folder", "zip", "packed"])
def test_a_sample_of_images_keeps_their_classes(tmp_path: Path, kind: str) -> None:
    files = class_files(90)  # grey image n has class n % 3; a folder lists them class by class
    folder = write_folder(tmp_path / "images", files)
    if kind == "zip":
        uri = write_zip(tmp_path / "images.zip", files)
    elif kind == "packed":
        uri = tmp_path / "packed"
        pack(PackJob(str(folder), str(uri), PackSettings()))
    else:
        uri = folder
    found = load(uri, 40)
    values = found.images[:, 0, 0, 0]
    assert found.images.shape == (40, 4, 4, 1)
    assert len(set(values)) == 40
    assert classes_of(found) == [("cat", "dog", "owl")[value % 3] for value in values]
    assert len(set(classes_of(found))) == 3
    assert np.array_equal(load(uri, 40).images, found.images)
    assert set(load(uri, 40, seed=1).images[:, 0, 0, 0]) != set(values)


def test_a_run_and_its_checkpoints_make_their_averaged_images(tmp_path: Path) -> None:
    save_run(tmp_path, spec_of("fashion"), 10, 20)
    expected = whole(load_generator(str(tmp_path)).generator, 3, 70)
    newest = tmp_path / "checkpoints" / "step-000000020"
    for uri in (tmp_path, newest, f"file://{tmp_path}"):
        assert np.array_equal(load(uri, 70, 3, (28, 28, 1)).images, expected)
    keras_file = load(newest / "generator.keras", 70, 3, (28, 28, 1))
    assert np.array_equal(keras_file.images, expected)
    assert keras_file.labels is None
    found = load_images(str(tmp_path), StorageSpec(), (28, 28, 1), 3, 0)
    assert found.uri.endswith("/checkpoints/step-000000020")
    assert found.data_fingerprint == "f" * 64


def test_a_conditional_run_makes_its_classes_as_often_as_its_data(tmp_path: Path) -> None:
    save_run(tmp_path, spec_of("fashion", "model.conditional=true"), 10)
    found = load(tmp_path, 70, 3, (28, 28, 1))
    source = load_generator(str(tmp_path))
    plan = class_plan(source.classes, (), balanced=False, seed=3, uri="")
    expected = np.concatenate(list(image_blocks(source.generator, 3, 70, classes=plan)))
    assert np.array_equal(found.images, expected)
    assert np.array_equal(found.labels, plan.labels(0, 70))
    assert set(classes_of(found)) == {"cat", "dog", "owl"}
    with pytest.raises(ConfigError, match="takes 2 inputs; expected latents alone"):
        load(tmp_path / "checkpoints/step-000000010/generator.keras", 70, 3, (28, 28, 1))


def test_generated_shards_and_npz_are_read(tmp_path: Path) -> None:
    generator = build_generator(spec_of("fashion").model, 0)
    images = np.concatenate(list(image_blocks(generator, 0, 70)))
    np.savez(tmp_path / "images.npz", images=images, indices=np.arange(70))
    found = load(tmp_path / "images.npz", 70, shape=(28, 28, 1)).images
    assert {image.tobytes() for image in found} == {image.tobytes() for image in images}


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "images", class_files(30))
    with pytest.raises(DataError, match=r"30 images; expected at least 31. Pass --num 30"):
        load(folder, 31)
    every = load_images(str(folder), StorageSpec(), (4, 4, 1), 31, 0, or_fewer=True)
    assert len(every.data.images) == 30
    with pytest.raises(DataError, match="is 4x4; expected exactly 8x8"):
        load(folder, 10, shape=(8, 8, 1))
    save_run(tmp_path / "run", spec_of("fashion"), 10)
    with pytest.raises(DataError, match=r"images are 28x28x1; expected 28x28x3"):
        load(tmp_path / "run", 10, shape=(28, 28, 3))
    (tmp_path / "text.keras").write_text("not a model")
    with pytest.raises(ConfigError, match="expected a generator saved by Keras"):
        load(tmp_path / "text.keras", 10)
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "none", 10)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="expected at most 100 bytes"):
        load(folder, 10)
