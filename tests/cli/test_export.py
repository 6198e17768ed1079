"""``dcgan-train export`` as a user types it, and what is rejected before TensorFlow is loaded."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from job.cli.main import run_command


def test_what_cannot_be_written_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    for form, out, text in (
        ("web", "full", "full, a folder; expected a file, for example"),
        ("keras", "model.h5", "expected a name that ends in .keras"),
        ("saved-model", "full", "which is there and not an empty folder"),
        ("saved-model", "full/kept", "which is there and not an empty folder"),
    ):
        arguments = ["export", str(tmp_path), "--format", form, "--out", str(tmp_path / out)]
        assert run_command(arguments) == 2
        assert text in capsys.readouterr().err
    assert run_command(["export", " ", "--format", "web", "--out", str(tmp_path / "x")]) == 2
    assert "RUN is empty" in capsys.readouterr().err
    assert {path.name for path in tmp_path.rglob("*")} == {"full", "kept"}


@pytest.mark.skipif(find_spec("tf2onnx") is not None, reason="tf2onnx is installed")
def test_onnx_without_its_package_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "generator.onnx")
    assert run_command(["export", str(tmp_path), "--format", "onnx", "--out", out]) == 2
    assert "run `pip install tf2onnx`" in capsys.readouterr().err


@pytest.mark.training
def test_a_page_a_file_and_a_folder_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.synthesis.runs import save_run, spec_of

    run = str(tmp_path / "run")
    save_run(tmp_path / "run", spec_of("notebook"), 10, 20)
    for form, name in (("web", "page.html"), ("keras", "g.keras"), ("saved-model", "model")):
        out = str(tmp_path / name)
        assert run_command(["export", run, "--format", form, "--out", out]) == 0
        printed = capsys.readouterr()
        assert printed.out == f"{out}\n"
        assert "step-000000020 (step 20)" in printed.err
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")
    assert (tmp_path / "g.keras").read_bytes().startswith(b"PK")
    assert (tmp_path / "model" / "saved_model.pb").is_file()
    arguments = ["export", run, "--format", "web", "--out", str(tmp_path / "best"), "--best"]
    assert run_command(arguments) == 3
    assert "no checkpoint with a score" in capsys.readouterr().err


def test_a_folder_without_checkpoints_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert run_command(["export", str(tmp_path), "--format", "web", "--out", str(out)]) == 3
    assert "no committed checkpoint here" in capsys.readouterr().err
    assert not out.exists()
