"""The wheel in an environment without the repository: every command has the files that it needs."""

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from release import dist
from release.version import current
from tests.launch.program import SMALL, environment, whole_checkpoints
from tests.launch.ray_head import ray_head

pytestmark = [pytest.mark.live, pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel, and with the libraries of this one.

    A line in a .pth file adds a folder, but not the .pth files in it: the checkout, which is
    installed by one, is not found.
    """
    folder = tmp_path_factory.mktemp("installed")
    dist.copy_sources(folder / "source")
    dist.python_packages(folder / "source", folder)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", wheel], check=True, timeout=120)
    purelib = Path(sysconfig.get_paths(vars={"base": str(folder / "env")})["purelib"])
    purelib.joinpath("libraries.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    return python


@pytest.fixture
def run(python: Path, ray_folder: Path, tmp_path: Path):
    """Run a command of the installed program in an empty folder; return its output."""

    def command(*arguments: object, **variables: str) -> str:
        env = environment(ray_folder, **variables)
        env.pop("PYTHONPATH", None)
        done = subprocess.run(
            [python.with_name("dcgan-train"), *map(str, arguments)],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return command


def test_the_program_is_that_of_the_wheel(python: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = "import job, importlib.metadata as m; print(job.__file__, m.version('dcgan-train'))"
    command = [python, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    path, version = found.stdout.split()
    assert Path(path).is_relative_to(python.parents[1])
    assert version == current()


def test_pack_train_and_every_file_that_is_made_from_a_template(run, tmp_path: Path) -> None:
    assert current() in run("--version")
    run("config", "init", "--preset", "fashion")
    assert "preset: fashion" in (tmp_path / "run.yaml").read_text()
    assert "200 images" in run("data", "pack", "synthetic:garments:200", "packed", "--size", "28")
    small = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    output = run(
        *("train", "--config", "run.yaml", "--set", "uri=first", "--set", "data.uri=packed"),
        *("--steps", 12, "--workers", 2, *small),
    )
    assert re.search(r"^sample grid: ", output, re.MULTILINE), output
    for command in (
        ("report", "first", "--out", "report.html"),
        ("export", "first", "--format", "web", "--out", "generator.html"),
        ("generate", "first", "--num", 4, "--format", "grid", "--out", "grid.png"),
        ("generate", "first", "--num", 4, "--format", "tar", "--out", "tar"),
    ):
        run(*command)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert "<script" in (tmp_path / "generator.html").read_text()


def test_submit_sends_the_installed_program(run, tmp_path: Path) -> None:
    """Ray uploads the folder of the package from the environment, as it would from a checkout."""
    run("data", "pack", "synthetic:garments:200", "packed", "--size", "28")
    small = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as ray,
        ray_head(Path(ray)) as head,
    ):
        names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
        run(
            *("submit", "--address", head.dashboard, "--preset", "fashion", "--steps", 12),
            *("--set", f"uri={tmp_path}/first", "--set", f"data.uri={tmp_path}/packed", *small),
            **{name: head.env[name] for name in names},
        )
    assert whole_checkpoints(tmp_path / "first")[0] == 12
