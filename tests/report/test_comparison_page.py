"""The page of several runs: one file without requests or scripts, for any run folders."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from job.quality.evaluation import to_json
from job.report.comparison import compare_runs
from job.report.comparison_page import build_comparison, difference_table, run_table, value_text
from job.run.layout import CONFIGURATION, EVALUATION, METRICS, grid_key
from job.storage.uri import open_store
from tests.report.runs import configuration, done_run, scored_run, troubled_run
from tests.report.test_evaluated import FOUND
from tests.report.test_html_report import SCRIPT, Page, shown_in_a_browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run of 1,500 steps, one of 6,000 steps of twice as many images, one with incidents."""
    folders = [tmp_path_factory.mktemp("runs") / name for name in ("first", "second", "third")]
    first, second, third = (open_store(str(folder)) for folder in folders)
    scored_run(first, {500: 30.0, 1000: 20.0, 1500: 25.0})
    done_run(second)
    second.write(CONFIGURATION, configuration(**{"training.global_batch_size": "64"}))
    troubled_run(third)
    return folders


def built(runs: list[Path]) -> bytes:
    stores = [open_store(str(folder)) for folder in runs]
    return build_comparison(compare_runs(stores), stores)


@pytest.mark.slow
def test_all_of_the_comparison_is_in_one_file(runs: list[Path]) -> None:
    data = built(runs)
    page = Page(data)
    for text in ("1 first", "2 second", "3 third", f"file://{runs[0]}", "training.global_batch"):
        assert text in page.text
    titles = re.findall(r"<h3>(.*?)</h3>", data.decode())
    assert len(titles) == len(page.all("svg")) == 12
    assert titles[:2] == [
        "Frechet distance (0 is best), over images seen",
        "Frechet distance (0 is best), over minutes of training",
    ]
    assert len(page.all("polyline")) == 2 + 10 * 3
    assert page.all("polygon") == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "form", "a"})
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    assert len(data) < 2_000_000


def test_lines_are_over_images_and_over_time_without_pauses(runs: list[Path]) -> None:
    data = built(runs).decode()
    over_images, over_time = re.findall(r'aria-label="Image diversity, .*?</svg>', data, re.DOTALL)

    def right_end(svg: str, number: int) -> float:
        [points] = re.findall(rf'class="line{number}" points="(.*?)"', svg)
        return float(points.split()[-1].partition(",")[0])

    # 48,000 images, 384,000 and 192,000: shares of the longest.
    ends = [right_end(over_images, number) for number in (1, 2, 3)]
    assert (ends[0] - 52) / (ends[1] - 52) == pytest.approx(0.125, abs=0.01)
    assert (ends[2] - 52) / (ends[1] - 52) == pytest.approx(0.5, abs=0.01)
    # 75 s, 300 s and, as 2,600 steps were trained again, 430 s: without the pauses of 150 s.
    ends = [right_end(over_time, number) for number in (1, 2, 3)]
    assert (ends[0] - 52) / (ends[2] - 52) == pytest.approx(75 / 430, abs=0.01)
    assert (ends[1] - 52) / (ends[2] - 52) == pytest.approx(300 / 430, abs=0.01)


def test_a_score_is_one_point(runs: list[Path]) -> None:
    over_images, _ = re.findall(r'aria-label="Frechet.*?</svg>', built(runs).decode(), re.DOTALL)
    [points] = re.findall(r'class="line1" points="(.*?)"', over_images)
    assert len(points.split()) == 3


def test_grids_are_at_equal_images(runs: list[Path]) -> None:
    page = Page(built(runs))
    assert "Grids at 48,000 images seen, or the next ones below" in page.text
    assert [image["alt"] for image in page.all("img")] == [
        "Generated images of run 1 first: step 1,500, 48,000 images seen",
        "Generated images of run 2 second: step 0, 0 images seen",
        "Generated images of run 3 third: step 1,000, 32,000 images seen",
    ]


def test_a_table_has_no_distances_that_say_nothing(runs: list[Path]) -> None:
    found = compare_runs([open_store(str(folder)) for folder in runs])
    heads, first, *_ = run_table(found)
    assert heads[-2:] == ("best Frechet", "last Frechet")
    assert first == ("1 first", "fashion", "done", "1,500", "48,000", first[5], "20.00", "25.00")
    assert difference_table(found) == [
        ("key", "1", "2", "3"),
        ("training.global_batch_size", "32", "64", "32"),
    ]
    apart = dataclasses.replace(found, why_not_comparable="other features")
    assert {len(row) for row in run_table(apart)} == {len(heads) - 2}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), ("auto", "auto"), (True, "true"), ([64, 32], "[64, 32]")]
)
def test_values_are_text(value: object, text: str) -> None:
    assert value_text(value) == text


def test_evaluations_are_one_table(runs: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(run, tmp_path / run.name)) for run in runs[:2]]
    for number, copy in enumerate(copies, start=1):
        scores = dataclasses.replace(FOUND.generated, frechet_distance=float(number))
        found = dataclasses.replace(FOUND, generated=scores)
        (copy / EVALUATION).write_text(to_json(found))
    page = Page(built(copies))
    assert "1.000 (10.000 to 14.500)" in page.text
    assert "2.000 (10.000 to 14.500)" in page.text
    assert "9,000 images against 12,000 real ones" in page.text


@pytest.fixture
def hostile(runs: list[Path], tmp_path: Path) -> list[Path]:
    """Two runs, one with hostile content in every file that the page reads."""
    folder = Path(shutil.copytree(runs[0], tmp_path / "<script>alert(1)<"))
    store = open_store(str(folder))
    settings = json.dumps({SCRIPT: SCRIPT, "preset": SCRIPT, "x": [SCRIPT], "seed": 1e300})
    store.write(CONFIGURATION, f"{settings}\n".encode())
    store.write(EVALUATION, to_json(dataclasses.replace(FOUND, images=SCRIPT)).encode())
    row = {"start": SCRIPT[:60], "row": 1, "step": 10**11, "time": SCRIPT}
    row |= {"dcgan_generator_loss": 1e290}
    store.write(METRICS, json.dumps(row).encode() + b"\n" + SCRIPT.encode() * 1000)
    store.write(grid_key(1500), f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>".encode())
    store.write(grid_key(10**20), b"")
    return [folder, runs[1]]


def test_a_hostile_run_folder_neither_breaks_it_nor_gets_a_tag_into_it(hostile: list[Path]) -> None:
    page = Page(built(hostile))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert "run by a stranger" in page.text, "it is shown as text"
    assert "1 <script>alert(1)<" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (500, False)], ids=["light", "dark", "phone"]
)
def test_a_browser_shows_it(runs: list[Path], tmp_path: Path, width: int, dark: bool) -> None:
    file = tmp_path / "compare.html"
    file.write_bytes(built(runs))
    image, page = shown_in_a_browser(file, tmp_path / "browser", (width, 2400), dark=dark)
    pixels = np.asarray(image).astype(int)
    background = pixels[5, 5]
    assert (background.max() < 40) if dark else (background.min() > 230)
    light = ((0x16, 0x68, 0xC7), (0xC2, 0x57, 0x0C), (0x11, 0x80, 0x5B))
    for colour in ((0x6C, 0xB0, 0xFF), (0xFF, 0x9D, 0x57), (0x55, 0xCF, 0x9F)) if dark else light:
        assert (np.abs(pixels - colour).max(axis=2) < 24).sum() > 200, colour
    # Nothing overflows the window to the right.
    assert (np.abs(pixels[:, -4:] - background).max(axis=2) < 60).all()
    assert "<svg" in page
