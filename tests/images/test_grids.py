"""Grids and GIFs: the place of each pixel, the frames and their durations."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from job.images.grids import CAPTION_PIXELS, evenly_chosen, image_grid, png_bytes, progress_gif


def images(num_images: int, height: int = 28, width: int = 28, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 255, (num_images, height, width, channels), dtype=np.uint8
    )


def frame(grey: int, size: tuple[int, int] = (120, 60), mode: str = "L") -> bytes:
    return png_bytes(Image.new("L", size, grey).convert(mode))


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_enlarged_in_its_cell_row_by_row(channels: int) -> None:
    batch = images(6, 5, 4, channels)
    grid = np.asarray(image_grid(batch, rows=2, columns=3, scale=2, padding=1))
    if channels == 1:
        grid = grid[:, :, None]
    assert grid.shape == (2 * 11 + 1, 3 * 9 + 1, channels)
    for index, image in enumerate(batch):
        top, left = 1 + index // 3 * 11, 1 + index % 3 * 9
        cell = grid[top : top + 10, left : left + 8]
        for down in (0, 1):
            for right in (0, 1):
                np.testing.assert_array_equal(cell[down::2, right::2], image)
    assert (grid[[0, 11, 22]] == 255).all()
    assert (grid[:, [0, 9, 18, 27]] == 255).all()


@pytest.mark.parametrize(("size", "cell"), [(28, 112), (32, 96), (64, 128), (96, 96), (128, 128)])
def test_small_images_are_enlarged_until_readable(size: int, cell: int) -> None:
    assert image_grid(images(1, size, size), 1, 1, padding=0).size == (cell, cell)


def test_missing_images_leave_white_cells() -> None:
    grid = np.asarray(image_grid(images(3, 4, 4), 2, 2, scale=1, padding=0))
    assert (grid[4:, 4:] == 255).all()
    assert not (grid[4:, :4] == 255).any()


@pytest.mark.parametrize(
    ("batch", "rows", "columns", "text"),
    [
        (images(4).astype(np.float32), 2, 2, r"float32 \[4, 28, 28, 1\]; expected uint8"),
        (images(4)[..., 0], 2, 2, r"uint8 \[4, 28, 28\]; expected uint8 \[B, H, W, C\]"),
        (images(4, channels=4), 2, 2, "expected uint8 .* 1 or 3 channels"),
        (images(4)[:0], 2, 2, r"uint8 \[0, 28, 28, 1\]"),
        (images(5), 2, 2, "5 images on a grid of 2 x 2"),
        (images(1), 0, 2, "1 images on a grid of 0 x 2"),
    ],
)
def test_arrays_that_are_not_a_batch_of_images_are_refused(
    batch: np.ndarray, rows: int, columns: int, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        image_grid(batch, rows, columns)


def test_png_keeps_every_pixel() -> None:
    grid = image_grid(images(4, channels=3), 2, 2)
    with Image.open(io.BytesIO(png_bytes(grid))) as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(grid))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_gif_shows_every_frame_with_a_caption_and_the_last_longer(mode: str) -> None:
    greys = [0, 80, 160]
    data = progress_gif(
        [frame(grey, mode=mode) for grey in greys], [f"step {grey}" for grey in greys], 0.3, 1.5
    )
    with Image.open(io.BytesIO(data)) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (3, (120, 60 + CAPTION_PIXELS), 0)
        for index, grey in enumerate(greys):
            gif.seek(index)
            assert gif.info["duration"] == (1500 if index == 2 else 300)
            pixels = np.asarray(gif.convert("L"))
            np.testing.assert_allclose(pixels[:60], grey, atol=2)
            caption = pixels[60:]
            assert (caption < 64).any(), "the caption is written"
            assert (caption[:, [0, -1]] > 250).all(), "the caption is on white and fits"


def test_a_long_caption_is_shrunk_to_fit() -> None:
    data = progress_gif([frame(0)], ["step 1,000,000 of 10,000,000"])
    with Image.open(io.BytesIO(data)) as gif:
        caption = np.asarray(gif.convert("L"))[60:]
    assert (caption[:, [0, -1]] > 250).all()
    assert (caption[:, :20] < 128).any()
    assert (caption[:, -20:] < 128).any()


def test_frames_are_read_one_by_one() -> None:
    max_at_once, alive = 0, 0

    class Frame(bytes):
        def __new__(cls, data: bytes) -> "Frame":
            nonlocal alive, max_at_once
            alive += 1
            max_at_once = max(max_at_once, alive)
            return super().__new__(cls, data)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def frames() -> Iterator[bytes]:
        for number in range(0, 250, 25):
            yield Frame(frame(number))

    data = progress_gif(frames(), [f"step {number}" for number in range(0, 250, 25)])
    with Image.open(io.BytesIO(data)) as gif:
        shown = []
        for index in range(gif.n_frames):
            gif.seek(index)
            shown.append(int(np.asarray(gif.convert("L"))[0, 0]))
    assert shown == list(range(0, 250, 25))
    assert max_at_once <= 3


@pytest.mark.parametrize(
    ("num_items", "max_items", "chosen"),
    [(1, 100, [0]), (3, 100, [0, 1, 2]), (5, 3, [0, 2, 4]), (4, 2, [0, 3])],
)
def test_evenly_chosen(num_items: int, max_items: int, chosen: list[int]) -> None:
    assert evenly_chosen(num_items, max_items) == chosen


def test_a_grid_of_another_size_is_fitted_into_the_gif() -> None:
    with Image.open(
        io.BytesIO(
            progress_gif([frame(0), frame(1, (60, 60)), frame(2, (240, 240))], ["a", "b", "c"])
        )
    ) as gif:
        sizes = {(gif.seek(number), gif.size)[1] for number in range(gif.n_frames)}
        assert (gif.n_frames, len(sizes)) == (3, 1)


@pytest.mark.parametrize(
    ("frames", "labels", "text"),
    [
        ([], [], "0 labels"),
        ([frame(0)], ["a", "b"], "1 frames with 2 labels"),
        ([frame(0), frame(1)], ["a"], "2 frames with 1 labels"),
    ],
)
def test_frames_and_labels_must_be_as_many(
    frames: list[bytes], labels: list[str], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        progress_gif(frames, labels)
