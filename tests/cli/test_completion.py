"""Completion, asked as the scripts of bash, zsh and fish ask: in variables of the environment."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.config.documents import preset_names
from job.config.keys import value_keys

ROOT = Path(__file__).parents[2]


Completed = Callable[[str], list[tuple[str, str]]]


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Completed:
    """Return what zsh gets for a line whose last word is to be completed: (value, help)."""

    def completed(line: str) -> list[tuple[str, str]]:
        monkeypatch.setenv("_DCGAN_TRAIN_COMPLETE", "zsh_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        with pytest.raises(SystemExit) as ended:
            run_command([])
        assert ended.value.code == 0
        answer = capsys.readouterr().out.strip().splitlines()
        assert answer[::3] == ["plain"] * (len(answer) // 3)
        return list(zip(answer[1::3], answer[2::3], strict=True))

    return completed


@pytest.mark.parametrize("command", ["train", "sweep", "config show", "config init"])
def test_presets(command: str, completed: Completed) -> None:
    assert [value for value, _ in completed(f"dcgan-train {command} --preset ")] == preset_names()
    assert completed(f"dcgan-train {command} --preset not") == [("notebook", "_")]


def test_keys_with_their_meaning(completed: Completed) -> None:
    found = completed("dcgan-train train --preset fashion --set training.ste")
    assert found == [
        ("training.steps=", "Steps in all; wins over `epochs`."),
        (
            "training.steps_per_call=",
            "Steps inside one TensorFlow call; the run looks up (metrics, signals) in between.",
        ),
    ]
    every = completed("dcgan-train train --set workers.count=3 --set ")
    assert [value for value, _ in every] == [f"{key}=" for key in value_keys()]
    assert completed("dcgan-train train --set nothing.") == []


def test_only_keys_of_stores_for_commands_that_read_a_run(completed: Completed) -> None:
    keys = [value for value, _ in completed("dcgan-train status --set ")]
    assert keys == [f"{key}=" for key in value_keys() if key.startswith("storage.")]


@pytest.mark.slow
def test_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "dcgan-train"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m job "$@"\n')
    program.chmod(0o755)
    script = """
        set -e
        eval "$(_DCGAN_TRAIN_COMPLETE=bash_source dcgan-train)"
        complete -p dcgan-train
        completed() {
            COMP_WORDS=(dcgan-train "$@") COMP_CWORD=$# COMPREPLY=()
            _dcgan_train_completion dcgan-train
            echo "${COMPREPLY[@]}"
        }
        completed con
        completed train --pre
        completed train --config run.yaml --preset dcgan
        completed train --set workers.count = 2 --set workers.ma
    """
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "complete -o nosort -F _dcgan_train_completion dcgan-train",
        "config",
        "--preset",
        "dcgan128 dcgan32 dcgan64",
        "workers.max= workers.max_restarts=",
    ]


@pytest.mark.slow
def test_it_loads_no_framework() -> None:
    variables = {
        "_DCGAN_TRAIN_COMPLETE": "fish_complete",
        "COMP_WORDS": "dcgan-train train --set se",
        "COMP_CWORD": "se",
    }
    program = (
        "import sys\nfrom job.cli.main import run_command\n"
        "try:\n    run_command([])\nfinally:\n"
        "    heavy = {'tensorflow', 'keras', 'ray', 'boto3', 'numpy', 'PIL'}\n"
        "    print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stderr.strip() == ""
    assert result.stdout == ("plain,seed=\tSeed of weights, latents, dropout and image order.\n")
