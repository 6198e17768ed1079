"""Advice of the program: commands can be typed as printed, and fit the situation."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from job.cli.main import run_command
from job.cli.options import program
from job.cli.run_text import plan_text, stop_text
from job.config.load import load_run
from job.config.storage import StorageSpec
from job.storage.uri import open_store
from job.synthesis.writers import open_destination, write_images
from job.training import preflight
from tests.report.runs import done_run

ROOT = Path(__file__).parents[2]


def test_the_next_command_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the program is not on the PATH, as after `make demo`."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = subprocess.run(
        f"{program()} --help", shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Usage: dcgan-train" in result.stdout, result.stderr
    done_run(open_store(str(tmp_path)))
    status = subprocess.run(
        [sys.executable, "-m", "job", "status", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        status.stdout.splitlines()[-1]
        == f"next           {program()} generate {tmp_path} --num 100 --format grid --out images.png"
    )
    on_path = tmp_path / "dcgan-train"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == "dcgan-train"
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", "/opt/my python/python")
    assert shlex.split(program()) == ["/opt/my python/python", "-m", "job"]


def test_the_plan_counts_one(tmp_path: Path) -> None:
    assert (
        run_command(
            ["data", "pack", "synthetic:garments:64", str(tmp_path / "packed"), "--size", "28x28"]
        )
        == 0
    )
    keys = [
        f"uri={tmp_path}/run",
        f"data.uri={tmp_path}/packed",
        "training.steps=1",
        "workers.gpus=1",
    ]
    plans = {}
    for count in (1, 2):
        checked = preflight.check(
            load_run("fashion", overrides=[*keys, f"workers.count={count}", "workers.cpus=1"])
        )
        plans[count] = plan_text(checked)
    assert "1 step of 64 on 1 worker (1 GPU each), " in plans[1]
    assert "1 step of 64 on 2 workers (1 GPU each), " in plans[2]


def test_what_a_stop_says(tmp_path: Path) -> None:
    fresh = [f"uri={tmp_path}/run", f"data.uri={tmp_path}/packed"]
    assert (
        stop_text(load_run("fashion", overrides=fresh))
        == "no checkpoint was saved yet; the same command starts again at step 0"
    )
    other = load_run("fashion", overrides=[*fresh, f"checkpoints.resume={tmp_path}/other"])
    assert (
        stop_text(other)
        == f"no checkpoint was saved yet; the same command starts again from {tmp_path}/other"
    )
    done_run(open_store(f"{tmp_path}/run"))
    assert stop_text(load_run("fashion", overrides=fresh)).endswith(
        "; the same command resumes from there"
    )


def test_a_folder_that_was_never_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["data", "verify", str(tmp_path)]) == 5
    said = capsys.readouterr().err
    assert said.endswith(
        ": correct the path, or pack images with `dcgan-train data pack SOURCE DEST`\n"
    )
    assert "again" not in said


@pytest.mark.parametrize(
    ("form", "message"),
    [("png", "holds 000000001.png already"), ("shards", "holds a data set already")],
)
def test_generate_refuses_a_used_folder_before_it_loads_anything(
    tmp_path: Path, form: str, message: str
) -> None:
    """No checkpoint is there, and TensorFlow cannot be loaded: neither is asked for."""
    blocks = iter([np.zeros((2, 8, 8, 1), np.uint8)])
    out = open_destination(form, str(tmp_path / "out"), StorageSpec(), 2, 0)
    write_images(out, blocks, "run")
    script = "import sys; sys.modules['tensorflow'] = None\nfrom job.cli.main import run_command\nsys.exit(run_command(sys.argv[1:]))"
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


@pytest.mark.parametrize(
    "path", ["packed/photos/index.json", "runs/one/run.yaml", "synthetic/000000000.png"]
)
def test_git_and_ray_leave_out_what_the_examples_make(path: str) -> None:
    """Ray's working directory is what .gitignore leaves."""
    assert (
        subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, env=os.environ).returncode
        == 0
    )
    assert (
        subprocess.run(
            ["git", "check-ignore", "-q", f"tests/{path}"], cwd=ROOT, env=os.environ
        ).returncode
        == 1
    )


def test_one_damaged_checkpoint_is_counted_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done_run(open_store(str(tmp_path)))
    for part in sorted((tmp_path / "checkpoints").glob("step-*/*.npz")):
        part.write_bytes(b"")
    assert run_command(["checkpoints", "verify", str(tmp_path)]) == 3
    num = len(list((tmp_path / "checkpoints").glob("step-*")))
    assert (
        f"damaged are {num} of {num} checkpoint{'' if num == 1 else 's'}; "
        in capsys.readouterr().err
    )
