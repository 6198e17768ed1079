"""``dcgan-train checkpoints``: the list, the check of every part, pins and quarantine."""

from pathlib import Path

import pytest

from job.checkpoints.best import Best
from job.checkpoints.checkpoints import Checkpoints
from job.cli.main import run_command
from job.storage.uri import open_store
from tests.checkpoints.saves import PARTS, facts, parts_of, save
from tests.report.runs import done_run


@pytest.fixture
def run(tmp_path: Path) -> Checkpoints:
    """A run folder with checkpoints of 10 and 20 steps."""
    return save(open_store(str(tmp_path)), 10, 20)


def part_of(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:09d}" / next(iter(PARTS))


def lines(capsys: pytest.CaptureFixture[str], *command: object, code: int = 0) -> list[str]:
    assert run_command(["checkpoints", *map(str, command)]) == code
    return capsys.readouterr().out.splitlines()


def states(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, str]:
    """Return the state of each step in the list."""
    header, *rows = lines(capsys, "list", folder)
    at = header.index("state")
    return {row.split()[0]: row[at:].split()[0] for row in rows}


def test_the_list_is_newest_first_with_the_state_of_each(
    run: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, newest, oldest = lines(capsys, "list", tmp_path)
    assert newest.split()[:2] == ["20", "160"]
    assert newest.endswith(f"ok           file://{tmp_path}/checkpoints/step-000000020")
    assert oldest.split()[:2] == ["10", "80"]
    part_of(tmp_path, 10).unlink()
    run.pin(20)
    assert states(capsys, tmp_path) == {"20": "pinned", "10": "damaged"}
    run.quarantine(run.manifest(20), "crashed")
    (tmp_path / "checkpoints" / "step-000000010" / "manifest.json").write_bytes(b"{")
    assert states(capsys, tmp_path) == {"20": "quarantined", "10": "unreadable"}


def test_the_list_shows_the_scores_and_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Checkpoints(open_store(str(tmp_path)))
    for step, distance in ((10, 9.5), (20, 11.25)):
        scores = {"frechet_distance": distance, **Best(9.5, 10).to_metrics()}
        found.save(facts(step, **scores), parts_of(step))
    header, newest, oldest = lines(capsys, "list", tmp_path)
    at = header.index("Frechet")
    assert [row[at : at + 20].split() for row in (newest, oldest)] == [
        ["11.25", "ok"],
        ["9.50", "best"],
    ]


def test_a_pinned_step_stays_pinned_until_it_is_unpinned(
    run: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(capsys, "pin", tmp_path, 10) == ["step 10 is pinned"]
    assert states(capsys, tmp_path)["10"] == "pinned"
    assert lines(capsys, "unpin", tmp_path, 10) == ["step 10 is not pinned"]
    assert states(capsys, tmp_path)["10"] == "ok"
    assert run_command(["checkpoints", "pin", str(tmp_path), "15"]) == 3


def test_verify_reads_every_byte(
    run: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(capsys, "verify", tmp_path) == ["step 20: ok", "step 10: ok"]
    part = part_of(tmp_path, 20)
    part.write_bytes(part.read_bytes()[::-1])  # the size is right
    newest, oldest = lines(capsys, "verify", tmp_path, code=3)
    assert "SHA-256" in newest
    assert oldest == "step 10: ok"


def test_a_quarantine_ends_when_the_checkpoint_is_whole_again(
    run: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.quarantine(run.manifest(20), "generator.npz: is missing")
    kept = "step 20: ok; quarantined (generator.npz: is missing); --release takes it again"
    assert lines(capsys, "verify", tmp_path)[0] == kept
    assert lines(capsys, "verify", tmp_path, "--release")[0] == "step 20: ok, quarantine taken off"
    assert lines(capsys, "verify", tmp_path)[0] == "step 20: ok"


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
