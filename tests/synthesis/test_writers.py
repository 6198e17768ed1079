"""One ``.npz``, grid, GIF or MP4: complete or absent, and marked as synthetic."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.synthesis.images import image_blocks
from job.synthesis.interpolation import interpolated_blocks
from job.synthesis.marking import DIGITAL_SOURCE_TYPE
from job.synthesis.writers import MAX_GRID_IMAGES, open_destination, write_images
from tests.synthesis.runs import whole

pytestmark = pytest.mark.training


def write(
    generator, form: str, out: Path, num_images: int = 70, start: int = 0, *, is_marked: bool = True
) -> str:
    destination = open_destination(
        form, str(out), StorageSpec(), num_images, start, is_marked=is_marked
    )
    return write_images(destination, image_blocks(generator, 0, num_images, start))


@pytest.mark.parametrize("name", ["images.npz", ""])
def test_npz_loads_with_numpy(generator, tmp_path: Path, name: str) -> None:
    uri = write(
        generator, "npz", tmp_path / "out" / name if name else tmp_path / "out", 70, start=10
    )
    assert uri.endswith("/out/images.npz")
    with np.load(tmp_path / "out" / "images.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["images"], whole(generator, 0, 70, 10))
        assert np.array_equal(archive["indices"], np.arange(10, 80))
        assert archive["digital_source_type"] == DIGITAL_SOURCE_TYPE


def test_a_grid_is_one_picture_and_has_a_limit(generator, tmp_path: Path) -> None:
    assert write(generator, "grid", tmp_path / "grid.png", 7).endswith("/grid.png")
    width, height = Image.open(io.BytesIO((tmp_path / "grid.png").read_bytes())).size
    assert width == height  # 3 x 3 cells
    with pytest.raises(ConfigError, match=f"expected at most {MAX_GRID_IMAGES}"):
        write(generator, "grid", tmp_path / "grid.png", MAX_GRID_IMAGES + 1)


@pytest.mark.parametrize(("num_in_turn", "columns"), [(2, 10), (7, 7), (10, 10), (40, 40)])
def test_each_column_of_a_grid_has_one_of_the_classes_in_turn(
    tmp_path: Path, num_in_turn: int, columns: int
) -> None:
    labels = np.arange(100, dtype=np.uint8) % num_in_turn
    out = open_destination("grid", str(tmp_path), StorageSpec(), 100, 0)
    images = np.broadcast_to(labels[:, None, None, None], (100, 28, 28, 1))
    write_images(out, iter([images]), num_in_turn=num_in_turn)
    pixels = np.asarray(Image.open(tmp_path / "grid.png"))
    cell = pixels.shape[1] // columns
    for column in range(columns):
        assert set(np.unique(pixels[:, column * cell + 8 : (column + 1) * cell - 8])) <= {
            column % num_in_turn,
            255,
        }


@pytest.mark.parametrize("form", ["npz", "grid"])
def test_nothing_is_left_of_what_failed(generator, tmp_path: Path, form: str) -> None:
    def breaking():
        yield whole(generator, 0, 64)
        raise StorageError("the disk is gone")

    out = tmp_path / "out"
    with pytest.raises(StorageError, match="the disk is gone"):
        write_images(open_destination(form, str(out), StorageSpec(), 128, 0), breaking())
    assert not [path for path in out.rglob("*") if path.is_file()]


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


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_grid_says_that_it_is_synthetic(generator, tmp_path: Path, is_marked: bool) -> None:
    """Pillow finds the XMP where the specification puts it, and still reads the pixels."""
    write(generator, "grid", tmp_path, 1, is_marked=is_marked)
    [path] = tmp_path.glob("*.png")
    with Image.open(path) as image:
        image.load()
        assert (DIGITAL_SOURCE_TYPE in image.info.get("xmp", b"").decode()) is is_marked
        assert image.mode == "L"


@pytest.mark.parametrize(
    ("form", "num_images", "num_between"),
    [("gif", 5, "not set"), ("mp4", 5, "not set"), ("grid", 1, 3), ("npz", 5, 0)],
)
def test_interpolation_needs_two_images_and_a_picture(
    tmp_path: Path, form: str, num_images: int, num_between: int | str
) -> None:
    given = num_between if isinstance(num_between, int) else None
    with pytest.raises(ConfigError, match=f"--interpolate is {num_between} with --format {form}"):
        open_destination(form, str(tmp_path), StorageSpec(), num_images, 0, num_between=given)


def test_a_strip_has_a_row_for_each_two_neighbours(generator, tmp_path: Path) -> None:
    out = open_destination("grid", str(tmp_path), StorageSpec(), 4, 0, num_between=3)
    write_images(out, interpolated_blocks(generator, 0, 4, 0, 3, is_loop=False))
    width, height = Image.open(tmp_path / "grid.png").size
    assert (width // 112, height // 112) == (5, 3)  # cells of 4 x 28 pixels, and padding


@pytest.mark.parametrize("is_marked", [True, False])
def test_an_mp4_shows_the_images_and_says_that_it_is_synthetic(
    generator, tmp_path: Path, is_marked: bool
) -> None:
    out = open_destination(
        "mp4", str(tmp_path), StorageSpec(), 3, 0, is_marked=is_marked, num_between=4
    )
    write_images(out, interpolated_blocks(generator, 0, 3, 0, 4, is_loop=True))
    with av.open(tmp_path / "images.mp4") as video:
        assert video.metadata.get("comment") == (DIGITAL_SOURCE_TYPE if is_marked else None)
        assert video.streams.video[0].average_rate == 20
        frames = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    images = np.concatenate(list(interpolated_blocks(generator, 0, 3, 0, 4, is_loop=True)))
    assert len(frames) == len(images) == 15
    for frame, image in zip(frames, images, strict=True):
        shown = np.asarray(Image.fromarray(frame).resize((28, 28), Image.Resampling.BOX), float)
        assert np.abs(shown - image[..., 0]).mean() < 4  # grey levels: H.264 loses a little


def test_an_mp4_has_even_sides(tmp_path: Path) -> None:
    out = open_destination("mp4", str(tmp_path), StorageSpec(), 2, 0, num_between=0)
    odd = np.full((2, 161, 163, 3), 200, np.uint8)  # too large to be enlarged
    write_images(out, iter([odd]))
    with av.open(tmp_path / "images.mp4") as video:
        frame = next(video.decode(video=0))
    assert (frame.height, frame.width) == (162, 164)


def test_an_mp4_without_its_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.synthesis.writers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="run `pip install av`"):
        open_destination("mp4", str(tmp_path), StorageSpec(), 2, 0, num_between=3)


def test_a_gif_has_a_frame_for_each_image_and_says_that_it_is_synthetic(
    generator, tmp_path: Path
) -> None:
    out = open_destination("gif", str(tmp_path / "walk.gif"), StorageSpec(), 3, 0, num_between=4)
    write_images(out, interpolated_blocks(generator, 0, 3, 0, 4, is_loop=True))
    with Image.open(tmp_path / "walk.gif") as gif:
        assert gif.n_frames == 15
        assert gif.info["loop"] == 0
        assert gif.info["comment"] == DIGITAL_SOURCE_TYPE.encode()
