"""The pictures of a report: evenly chosen, decoded, and of bounded size whatever the grids show."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from job.images.grids import CAPTION_PIXELS, image_grid, png_bytes
from job.report.html_report import build_report
from job.report.pictures import MAX_FRAMES, MAX_GRIDS, SHOWN_SIDE, Picture, read_pictures
from job.run.layout import grid_key
from job.storage.store import ObjectStore
from tests.report.runs import TOTAL, troubled_run


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    assert image.format == "WEBP"
    assert image.size == picture.size
    return image


def frames_of(picture: Picture) -> list[np.ndarray]:
    image, frames = opened(picture), []
    for number in range(image.n_frames):
        image.seek(number)
        frames.append(np.asarray(image.convert("L")).astype(int))
    return frames


@pytest.mark.slow
@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.live), 3])
def test_a_run_with_many_grids_of_noise_has_a_report_of_less_than_1_mb(
    folder: ObjectStore, channels: int
) -> None:
    troubled_run(folder, every_seconds=1.0)
    generator = np.random.default_rng(0)
    for step in range(0, TOTAL, 250):
        images = generator.integers(0, 256, (25, 64, 64, channels), dtype=np.uint8)
        png = io.BytesIO()
        image_grid(images, 5, 5).save(png, "PNG", compress_level=1)
        folder.write(grid_key(step), png.getvalue())
    pictures = read_pictures(folder)
    assert len(pictures.grids) == MAX_GRIDS
    assert pictures.animation
    assert len(frames_of(pictures.animation)) >= 6
    assert 400_000 < len(build_report(folder)) < 1_000_000


def test_grids_and_frames_are_spread_from_the_first_step_to_the_last(folder: ObjectStore) -> None:
    greys = range(0, 250, 5)
    for step, grey in enumerate(greys):
        folder.write(grid_key(step), png_bytes(Image.new("L", (600, 300), grey)))
    pictures = read_pictures(folder)
    assert [pictures.grids[index].caption for index in (0, -1)] == ["step 0", "step 49"]
    for picture in pictures.grids:
        assert opened(picture).size == (SHOWN_SIDE, SHOWN_SIDE // 2)
        step = int(picture.caption.split()[1])
        np.testing.assert_allclose(frames_of(picture)[0], greys[step], atol=4)
    assert pictures.animation
    frames = frames_of(pictures.animation)
    assert frames[0].shape == (SHOWN_SIDE // 2 + CAPTION_PIXELS, SHOWN_SIDE)
    shown = [frame[: SHOWN_SIDE // 2].mean() for frame in frames]
    assert len(shown) == MAX_FRAMES
    assert np.diff(shown).min() > 5
    np.testing.assert_allclose([shown[0], shown[-1]], [greys[0], greys[-1]], atol=4)


def test_a_single_grid_is_not_animated(folder: ObjectStore) -> None:
    assert read_pictures(folder) == ([], None)
    folder.write(grid_key(7), png_bytes(Image.new("RGB", (20, 10), "red")))
    [grid], animation = read_pictures(folder)
    assert animation is None
    assert opened(grid).size == (20, 10)
