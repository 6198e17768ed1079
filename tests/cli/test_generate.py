"""``dcgan-train generate`` as a user types it: parts, a kill in the middle, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.cli.main import run_command
from job.data.index import read_index
from job.storage.uri import open_store
from job.synthesis.marking import DIGITAL_SOURCE_TYPE
from tests.synthesis.runs import save_run, spec_of

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, spec_of("fashion"), 10)
    return folder


def command(run_folder: Path, out: Path, *options: str) -> list[str]:
    return ["generate", str(run_folder), "--out", str(out), "--format", "tar", *options]


def indices(folder: Path) -> list[int]:
    """Return the index of every PNG in the tars of ``folder``, in the order of files."""
    found = []
    for path in sorted(folder.glob("shard-*.tar")):
        with tarfile.open(path) as archive:
            found += [int(name.removesuffix(".png")) for name in archive.getnames()]
    return found


@pytest.mark.live
def test_killed_and_started_again_it_makes_every_image_once(
    run_folder: Path, tmp_path: Path
) -> None:
    """``kill -9`` once some parts are there; the second run makes the others only."""
    arguments = command(run_folder, tmp_path / "out", "--num", "40000", "--part-images", "512")
    with subprocess.Popen([sys.executable, "-m", "job", *arguments]) as process:
        while process.poll() is None and len(list(tmp_path.glob("out/parts/*.json"))) < 4:
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("out/parts/*.json")}
    before = {
        name: (tmp_path / "out" / name.replace(".json", ".tar")).stat().st_mtime_ns for name in kept
    }
    result = subprocess.run(
        [sys.executable, "-m", "job", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "of 40,000 images are there" in result.stderr
    assert indices(tmp_path / "out") == list(range(40_000))
    for name, written in before.items():
        path = tmp_path / "out" / name.replace(".json", ".tar")
        assert path.stat().st_mtime_ns == written


def test_the_same_command_again_makes_nothing(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(run_folder, tmp_path / "out", "--num", "100")
    assert run_command(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*")}
    assert run_command(arguments) == 0
    assert "100 of 100 images are there" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*")} == before
    assert run_command([*arguments, "--seed", "1"]) == 2
    assert "was begun with --seed 0, not 1" in capsys.readouterr().err


def test_images_of_one_class_of_balanced_ones_and_of_none(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "run", spec_of("fashion", "model.conditional=true"), 10)

    def labels(form: str, *options: str) -> list[int]:
        out = tmp_path / "-".join((form, *options))
        arguments = ["generate", str(tmp_path / "run"), "--num", "9", "--format", form]
        assert run_command([*arguments, "--out", str(out), *options]) == 0, capsys.readouterr().err
        if form == "npz":
            return np.load(out / "images.npz")["labels"].tolist()
        index = read_index(open_store(str(out)))
        assert [each.name for each in index.classes or ()] == ["cat", "dog", "owl"]
        return np.fromfile(out / index.shards[0].labels.name, "<i4").tolist()

    for form in ("npz", "shards"):
        assert labels(form, "--class", "dog") == [1] * 9
        assert labels(form, "--class", "owl", "--class", "0") == [2, 0, 2, 0, 2, 0, 2, 0, 2]
        assert labels(form, "--balanced") == [0, 1, 2] * 3
        assert len(set(labels(form))) > 1
    for folder, options, message in (
        (tmp_path / "run", ["--class", "fox"], "--class is fox; expected a class of"),
        (tmp_path / "run", ["--class", "cat", "--balanced"], "--class is cat with --balanced"),
        (run_folder, ["--balanced"], "has no classes; expected a checkpoint of a run with"),
    ):
        assert run_command(command(folder, tmp_path / "none", "--num", "1", *options)) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("form", ["npz", "grid"])
def test_only_formats_of_parts_have_parts(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--num", "1", "--format", form, "--part-images", "64"]
    assert run_command(command(tmp_path, tmp_path / "out", *options)) == 2
    assert f"--part-images is 64 with --format {form}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "message"),
    [("png", "holds 000000001.png already"), ("shards", "holds croissant.json already")],
)
def test_generate_refuses_a_used_folder_before_it_loads_anything(
    tmp_path: Path, form: str, message: str
) -> None:
    """No checkpoint is there, and TensorFlow cannot be loaded: neither is asked for."""
    if form == "png":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "000000001.png").write_bytes(b"")
    else:
        packing = ["data", "pack", "synthetic:garments:20", str(tmp_path / "out")]
        assert run_command(packing) == 0
    script = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from job.cli.main import run_command\nsys.exit(run_command(sys.argv[1:]))"
    )
    arguments = [
        "generate",
        str(tmp_path / "none"),
        "--num",
        "1",
        "--start",
        "1",
        "--format",
        form,
        "--out",
        str(tmp_path / "out"),
    ]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, message in result.stderr) == (2, True), result.stderr


def test_single_pngs_have_a_data_card_and_a_mark(run_folder: Path, tmp_path: Path) -> None:
    arguments = ["generate", str(run_folder), "--num", "6", "--start", "3", "--license", "cc0-1.0"]
    assert run_command([*arguments, "--out", str(tmp_path)]) == 0
    card = (tmp_path / "README.md").read_text()
    assert "6 synthetic images of 28x28x1" in card
    assert "3 ... 8" in card
    assert "license: cc0-1.0" in card
    assert "Every image is marked as synthetic" in card
    document = json.loads((tmp_path / "croissant.json").read_text())
    assert document["distribution"][0]["includes"] == "*.png"
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == [
        f"00000000{index}.png" for index in range(3, 9)
    ]
    with Image.open(tmp_path / "000000003.png") as image:
        assert DIGITAL_SOURCE_TYPE in image.info["xmp"].decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--truncation", "nan"], "nan is not a number"),
        (["--license", ""], "--license is ''; expected one line"),
        (["--license", "a\nb: c"], "; expected one line, such as cc0-1.0"),
        (["--interpolate", "3"], "--interpolate is 3 with --format png; expected it with grid,"),
    ],
)
def test_a_wrong_value_writes_nothing(
    run_folder: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["generate", str(run_folder), "--num", "6", "--out", str(tmp_path / "out")]
    assert run_command([*arguments, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
