"""``quality fit`` writes the features beside the images; ``quality compare`` orders scores."""

import dataclasses
import json
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.quality.evaluation import Evaluation, to_json
from job.quality.scores import Basis, Scores
from tests.quality.pictures import packed_bars

BASIS = Basis("classifier", "a" * 64, "b" * 64, 300, 300)
FLOOR = Scores(0.5, (0.4, 0.6), 0.0, 0.001, 0.9, 0.9, 1.0, 0.95)


@pytest.mark.training
def test_fit_writes_features_that_the_seed_decides(tmp_path: Path, capsys) -> None:
    facts = []
    for name in ("first", "again"):
        packed_bars(tmp_path / name, 600)
        assert run_command(["quality", "fit", str(tmp_path / name), "--epochs", "2"]) == 0
        facts.append(json.loads((tmp_path / name / "quality/classifier.json").read_text()))
    assert (facts[0]["task"], facts[0]["class_names"]) == ("labels", ["0", "1", "2"])
    assert facts[0]["fingerprint"] == facts[1]["fingerprint"]
    captured = capsys.readouterr()
    assert "epoch 2/2: accuracy" in captured.err
    assert f"fingerprint {facts[0]['fingerprint'][:16]}" in captured.out


def saved(path: Path, frechet: float, **basis: object) -> str:
    scores = dataclasses.replace(FLOOR, frechet_distance=frechet)
    evaluation = Evaluation(
        path.name, "data", 0, dataclasses.replace(BASIS, **basis), scores, FLOOR
    )
    path.write_text(to_json(evaluation))
    return str(path)


def test_compare_orders_scores(tmp_path: Path, capsys) -> None:
    for name, distance in {"bad": 7.0, "good": 3.25}.items():  # as `evaluate --record` names them
        (tmp_path / name).mkdir()
        saved(tmp_path / name / "evaluation.json", distance)
    files = [str(tmp_path / name / "evaluation.json") for name in ("bad", "good")]
    assert run_command(["quality", "compare", *files]) == 0
    _, *rows, basis = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows] == [*reversed(files), "real against real"]
    assert "3.250 (0.400 to 0.600)" in rows[0]
    assert basis.startswith("300 images against 300 real ones")


def test_compare_refuses_other_bases_and_files(tmp_path: Path, capsys) -> None:
    first = saved(tmp_path / "first.json", 3.0)
    other = saved(tmp_path / "other.json", 3.0, features_fingerprint="c" * 64)
    (tmp_path / "text.json").write_text("scores")
    for files, message in [
        ([first, other], f"{first} has features_fingerprint aaaaaaaaaaaaaaaa, {other} has cccccc"),
        ([first], "FILES are 1 different file; expected at least 2"),
        ([first, str(tmp_path / "text.json")], "text.json: is not JSON"),
        ([first, "none.json"], "none.json: cannot be read (No such file or directory)"),
    ]:
        assert run_command(["quality", "compare", *files]) == 2
        assert message in capsys.readouterr().err
