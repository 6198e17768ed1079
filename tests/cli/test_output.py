"""Output fits any terminal and any file name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.cli.main import run_command
from job.storage.uri import open_store
from tests.report.runs import done_run

ROOT = Path(__file__).parents[2]
HOSTILE = "a\nb\x1b[31m\x9b2J\u202egnp"
ESCAPED = r"a\nb\x1b[31m\x9b2J\u202egnp"


def program(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "job", *map(os.fsencode, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, timeout=120)


def photos(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / "image.png")
        os.rename(folder / "image.png", os.path.join(os.fsencode(folder), os.fsencode(name)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["iso-8859-9", "ascii", "utf-8"])
def test_any_terminal_gets_every_line(tmp_path: Path, encoding: str) -> None:
    run = tmp_path / "run-😀"
    done_run(open_store(str(run)))
    result = program("status", run, PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode(encoding).splitlines()
    assert (
        lines[0] == f"done  {run}" if encoding == "utf-8" else f"done  {tmp_path}/run-\\U0001f600"
    )
    assert ("━" in lines[1]) == (encoding == "utf-8")
    assert ("###" in lines[1]) == (encoding != "utf-8")
    assert not [
        line for line in lines if "\\u25" in line
    ]  # its figures have letters that this terminal knows
    assert len(lines) == 12


@pytest.mark.slow
def test_an_emoji_in_the_name_of_a_bad_file(tmp_path: Path) -> None:
    """After the work is done; a name that is not text at all is an image like others."""
    source = photos(tmp_path / "photos", "1.png", os.fsdecode(b"z\xff.png"))
    (source / "😀.png").write_bytes(b"no image")
    result = program(
        "data", "pack", source, tmp_path / "packed", "--skip-bad", PYTHONIOENCODING="iso-8859-9"
    )
    assert result.returncode == 0, result.stderr
    assert b"Skipped 1 broken image, listed in index.json; the first: " in result.stdout
    assert b"\\U0001f600.png" in result.stdout


@pytest.mark.slow
def test_no_name_writes_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File names, keys of stores, paths that a user gives: on standard output and in errors."""
    source = photos(tmp_path / f"photos-{HOSTILE}", "1.png", "2.png")
    packed = tmp_path / f"packed-{HOSTILE}"
    (source / f"{HOSTILE}.png").write_bytes(b"no image")
    (source / f"x.{HOSTILE}").write_bytes(b"no image")
    assert run_command(["data", "pack", str(source), str(packed)]) == 5
    assert run_command(["data", "pack", str(source), str(packed), "--skip-bad"]) == 0
    shard = next(packed.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert run_command(["data", "verify", str(packed)]) == 5
    run = tmp_path / f"run-{HOSTILE}"
    done_run(open_store(str(run)))
    for command in (
        "status RUN",
        "report RUN",
        "checkpoints list RUN",
        "checkpoints verify RUN",
        "checkpoints pin NONE 7",
        "tarin-RUN",
    ):
        run_command(
            [
                part.replace("RUN", str(run)).replace("NONE", str(source))
                for part in command.split(" ")
            ]
        )
    train = [
        "train",
        "--preset",
        "fashion",
        "--set",
        f"uri={json.dumps(str(run))}",
        "--set",
        f"data.uri={json.dumps(str(packed))}",
    ]
    assert run_command(train) == 2
    assert run_command([*train, f"--{HOSTILE}"]) == 2
    output = "".join(capsys.readouterr())
    assert output.count(ESCAPED) > 15
    assert [letter for letter in output if not letter.isprintable() and letter != "\n"] == []
    assert not [line for line in output.split("\n") if line.startswith("b")]
