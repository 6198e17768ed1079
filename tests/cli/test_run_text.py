"""Text about a run: its plan and length, what a stop leaves, where the results are."""

import re
from pathlib import Path

import numpy as np
import pytest

from job.cli.main import run_command
from job.cli.run_text import (
    classes_text,
    dry_run_lines,
    length_text,
    memory_lines,
    plan_lines,
    plan_text,
    result_lines,
    stop_text,
)
from job.config.load import load_run
from job.run.layout import CONFIGURATION
from job.storage.uri import open_store
from job.telemetry.resources import available_memory
from job.training import preflight
from tests.report.runs import done_run
from tests.training.planned import commit_step_50, pack_512, spec_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("data"))


def test_the_length_says_why_it_is_more_than_the_epochs(data: Path, tmp_path: Path) -> None:
    checked = preflight.check(spec_of(data, tmp_path / "run"))
    assert length_text(checked) == (
        "length: 156.2 epochs (training.min_steps is 5,000: 10 epochs of so few images are only"
        " 320 steps; set training.epochs or training.steps for another length); a grid every 50"
        " steps, a checkpoint every 500 steps"
    )
    checked = preflight.check(spec_of(data, tmp_path / "run", "training.epochs=10"))
    assert length_text(checked) == (
        "length: 10 epochs; a grid every 32 steps, one checkpoint, at the end"
        " (checkpoints.every_steps is 500)"
    )


def test_the_plan_lists_what_changed_since_the_checkpoint(data: Path, tmp_path: Path) -> None:
    spec = spec_of(data, tmp_path / "run")
    then = {"training.generator_optimizer.learning_rate": 0.5, "metrics.host": "127.0.0.1"}
    commit_step_50(spec, then)
    changed = [line for line in plan_lines(preflight.check(spec)) if "was saved with" in line]
    assert len(changed) == 1
    assert changed[0].startswith("training.generator_optimizer.learning_rate is ")
    assert changed[0].endswith("; the checkpoint was saved with 0.5")
    assert f"# {changed[0]}" in dry_run_lines(spec)


def test_the_plan_proposes_classes_until_the_run_has_begun(tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    assert run_command(["data", "pack", "synthetic:garments:64", str(packed), "--size", "28"]) == 0
    spec = spec_of(packed, tmp_path / "run")
    checked = preflight.check(spec)
    proposal = classes_text(checked)
    assert "learns none of the 10 (" in proposal
    assert proposal in plan_lines(checked)
    assert f"# {proposal}" in dry_run_lines(spec)
    commit_step_50(spec)
    assert classes_text(preflight.check(spec)) == ""
    learns = preflight.check(spec_of(packed, tmp_path / "other", "model.conditional=true"))
    assert classes_text(learns) == "classes: learns all 10"
    np.save(tmp_path / "images.npy", np.zeros((16, 28, 28), np.uint8))
    unlabelled = tmp_path / "unlabelled"
    assert run_command(["data", "pack", str(tmp_path / "images.npy"), str(unlabelled)]) == 0
    assert classes_text(preflight.check(spec_of(unlabelled, tmp_path / "third"))) == ""


@pytest.mark.slow
def test_a_run_that_does_not_fit_in_memory_is_warned_about(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    huge = spec_of(data, tmp_path / "run", "model.generator.filters=[65536,65536]")
    *_, last = plan_lines(preflight.check(huge))
    number = r"[\d.]+ [GT]B"
    assert re.match(
        rf"warning: memory: needs about {number} \(2 workers of about {number} and 1.2 GB for Ray"
        rf" and this program\), and {number} are available; lower training\.global_batch_size, ",
        last,
    )
    assert f"# {last.partition(' are available')[0][:60]}" in "\n".join(dry_run_lines(huge))
    small = preflight.check(spec_of(data, tmp_path / "run"))
    assert memory_lines(small) == [] or available_memory() < 4e9
    monkeypatch.setenv("RAY_ADDRESS", "head.invalid:6379")
    assert memory_lines(preflight.check(huge)) == []


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
    assert "1 step of 32 on 1 worker (1 GPU each), " in plans[1]
    assert "1 step of 32 on 2 workers (1 GPU each), " in plans[2]


def test_a_stop_says_where_the_same_command_resumes(tmp_path: Path) -> None:
    keys = [f"uri={tmp_path}/run", f"data.uri={tmp_path}/packed"]
    fresh = load_run("fashion", overrides=keys)
    other = load_run("fashion", overrides=[*keys, f"checkpoints.resume={tmp_path}/other"])
    store = open_store(fresh.uri)
    begin = "the run had not begun; the same command starts"
    assert stop_text(fresh, store) == f"{begin} at step 0"
    store.write(CONFIGURATION, b"")
    begin = "no checkpoint was saved yet; the same command starts again"
    assert stop_text(fresh, store) == f"{begin} at step 0"
    assert stop_text(other, store) == f"{begin} from {tmp_path}/other"
    done_run(store)
    assert stop_text(fresh, store).endswith("; the same command resumes from there")


def test_the_results_name_files_that_exist(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path}/run")
    done_run(store)
    spec = load_run("fashion", overrides=[f"uri={tmp_path}/run", f"data.uri={tmp_path}/packed"])
    lines = dict(line.split(":", 1) for line in result_lines(spec, store))
    assert {"sample grid", "checkpoint", "next"} <= lines.keys()
    for name in lines.keys() - {"next"}:
        assert Path(lines[name].strip().removeprefix("file://")).exists(), name
    assert f"generate {lines['checkpoint'].strip()} --num 100 --format grid" in lines["next"]
    keys = [f"uri={tmp_path}/run", f"data.uri={tmp_path}/packed", "model.conditional=true"]
    last = result_lines(load_run("fashion", overrides=keys), store)[-1]
    assert "--num 100 --balanced --format grid" in last
