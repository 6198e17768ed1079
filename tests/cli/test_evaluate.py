"""``dcgan-train evaluate``, from packed images to a table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.cli.main import run_command
from job.run.layout import CONFIGURATION, EVALUATION, PAIRS
from tests.quality.pictures import bars, packed_bars

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with packed images that have features, and two sets to score."""
    folder = tmp_path_factory.mktemp("quality")
    packed_bars(folder / "real", 600)
    assert run_command(["quality", "fit", str(folder / "real"), "--epochs", "2"]) == 0
    good, _ = bars(300, seed=1)
    np.savez(folder / "good.npz", images=good)
    np.savez(folder / "bad.npz", images=np.concatenate([good[:150], 255 - good[:150]]))
    return folder


def evaluated(folder: Path, name: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    capsys.readouterr()
    real = str(folder / "real")
    assert run_command(["evaluate", str(folder / name), "--against", real, "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_real_images_score_as_the_floor_and_damaged_ones_worse(folder: Path, capsys) -> None:
    good, bad = (evaluated(folder, name, capsys) for name in ("good.npz", "bad.npz"))
    assert good["basis"] == bad["basis"]
    assert good["basis"]["num_generated"] == 300
    floor = good["floor"]["frechet_distance"]
    assert floor == bad["floor"]["frechet_distance"]
    assert good["generated"]["frechet_distance"] < 2 * floor
    assert bad["generated"]["frechet_interval"][0] > good["generated"]["frechet_interval"][1]
    assert bad["generated"]["kernel_distance"] > 5 * good["generated"]["kernel_distance"]
    for score in ("precision", "density", "coverage"):
        assert bad["generated"][score] < good["generated"][score]


def test_a_table_shows_both_lines_and_their_basis(folder: Path, capsys) -> None:
    options = ["--against", str(folder / "real"), "--num", "100"]
    assert run_command(["evaluate", str(folder / "good.npz"), *options]) == 0
    header, generated, floor, basis = capsys.readouterr().out.splitlines()
    assert "Frechet distance (95 %)" in header
    assert "KID" in header
    assert generated.startswith("generated")
    assert floor.startswith("real against real")
    assert basis.startswith("100 images against 100 real ones; features classifier ")


def test_held_out_images_show_copies_and_usefulness(folder: Path, capsys) -> None:
    packed_bars(folder / "unseen", 300, seed=2)
    packed_bars(folder / "labelled", 330, seed=3)
    options = ["--held-out", str(folder / "unseen"), "--pairs", str(folder / "pairs.png")]
    training = ["--usefulness", "--per-class", "20", "--steps", "10", "--repeats", "1"]
    (folder / "labelled" / CONFIGURATION).touch()  # of a run folder
    found = evaluated(folder, "labelled", capsys, *options, *training, "--record")
    assert json.loads((folder / "labelled" / EVALUATION).read_text()) == found
    assert (folder / "labelled" / PAIRS).read_bytes() == (folder / "pairs.png").read_bytes()
    assert 0.4 < found["near_training"]["pixels"]["share_nearer"] < 0.6
    assert found["near_training"]["features"]["median_held_out"] > 0
    assert [len(each["accuracies"]) for each in found["usefulness"]] == [1] * 6
    accuracies = {each["recipe"]: min(each["accuracies"]) for each in found["usefulness"]}
    assert accuracies["generated only"] > 0.4
    with Image.open(folder / "pairs.png") as picture:
        assert picture.size == (20 * 66 + 2, 4 * 66 + 2)

    command = ["evaluate", str(folder / "real"), "--against", str(folder / "real"), *options]
    assert run_command(command) == 0
    text = capsys.readouterr().out
    assert "by pixels" in text
    assert "100.0%" in text
    assert "This does not prove that nothing was copied" in text


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--usefulness"], 2, "--held-out is not set; expected packed real images"),
        (["--pairs", "x.png"], 2, "--held-out is not set"),
        (["--held-out", "none", "--pairs", "x.jpg"], 2, "--pairs is x.jpg; expected a folder, or"),
        (["--held-out", "none"], 5, "none/index.json: not found"),
        (["--held-out", "{folder}/real"], 2, "the same images as --against; expected images that"),
        (["--record"], 2, "good.npz is not a run folder"),
        (["--num", "301"], 2, "--num is 301; expected at most 300, half of the images"),
        (["--features", "faces"], 2, "--features is 'faces'; expected classifier"),
        (["--features", "inception:none.h5"], 2, "none.h5: no such file"),
        (["--against", "none"], 5, "none/index.json: not found"),
    ],
)
def test_a_wrong_option_is_one_line(
    folder: Path, capsys, options: list[str], code: int, message: str
) -> None:
    command = ["evaluate", str(folder / "good.npz"), "--against", str(folder / "real")]
    assert run_command([*command, *(each.format(folder=folder) for each in options)]) == code
    assert message in capsys.readouterr().err


@pytest.mark.live
def test_a_failed_download_is_an_error_and_prints_no_result(folder: Path, tmp_path: Path) -> None:
    """In a process that has no weights in its cache and no way to the network."""
    environment = {
        **os.environ,
        "KERAS_HOME": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    command = ["evaluate", str(folder / "good.npz"), "--against", str(folder / "real")]
    result = subprocess.run(
        [sys.executable, "-m", "job", *command, "--features", "inception", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "InceptionV3's weights (imagenet) cannot be loaded: URL fetch failure" in result.stderr
