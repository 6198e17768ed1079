"""``dcgan-train train`` refuses before any process starts: exit code, message, nothing written."""

import dataclasses
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.cli.main import run_command
from job.config.load import load_run
from job.data.index import read_index
from job.storage.uri import open_store
from tests.launch.program import environment, started, train_command
from tests.servers.s3 import S3Server
from tests.training.planned import commit_step_50, pack_512

Refused = Callable[[list[str]], tuple[int, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that ends with one line; return its exit code and that line."""

    def refused(command: list[str]) -> tuple[int, str]:
        code = run_command(command)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: "), captured.err
        assert captured.err.count("\n") == 1, captured.err
        return code, captured.err

    return refused


def commit(data: Path, folder: Path) -> None:
    """Write one checkpoint into a run folder, of a ``SMALL`` run on ``data``."""
    spec = load_run(overrides=train_command(data, "run")[2::2])
    commit_step_50(spec.replace(uri=str(folder)))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_of_another_size(data: Path, tmp_path: Path, refused: Refused) -> None:
    code, said = refused(train_command(data, tmp_path / "run", model__image_size="[32,32]"))
    assert code == 2
    assert "images are 28x28x1, the model takes 32x32x1" in said
    assert "model.image_size" in said
    assert "--size 32x32 --channels 1" in said
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_one_batch(data: Path, tmp_path: Path, refused: Refused) -> None:
    code, said = refused(train_command(data, tmp_path / "run", training__global_batch_size=1024))
    assert code == 5
    assert (
        "512 images; expected at least one global batch of 1024 (training.global_batch_size)"
        in said
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_data_without_an_index(tmp_path: Path, exists: bool, refused: Refused) -> None:
    data = tmp_path / "data"
    if exists:
        data.mkdir()
    code, said = refused(train_command(data, tmp_path / "run"))
    assert code == 5
    assert str(data) in said
    assert "index.json" in said
    assert "dcgan-train data pack" in said
    assert not (tmp_path / "run").exists()


def test_missing_bytes_in_the_index(data: Path, tmp_path: Path, refused: Refused) -> None:
    cut = shutil.copytree(data, tmp_path / "data")
    text = (cut / "index.json").read_text()
    (cut / "index.json").write_text(text[: len(text) // 2])
    code, said = refused(train_command(cut, tmp_path / "run"))
    assert code == 5
    assert "index.json" in said


@pytest.mark.parametrize(
    ("damage", "said_of_it"),
    [
        ("missing", "is missing; expected 65072 bytes"),
        ("cut", "has 100 bytes; expected 65072 bytes"),
    ],
)
def test_a_shard_that_is_not_whole(
    data: Path, tmp_path: Path, damage: str, said_of_it: str, refused: Refused
) -> None:
    damaged = shutil.copytree(data, tmp_path / "data")
    shard = damaged / "shard-00000.u8"
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:100])
    code, said = refused(train_command(damaged, tmp_path / "run"))
    assert code == 5
    assert f"shard-00000.u8: {said_of_it}" in said
    assert not (tmp_path / "run").exists()


def test_with_fewer_steps_than_are_done_nothing_is_left_to_do(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    commit(data, folder)
    before = contents(folder)
    assert run_command(train_command(data, folder, training__steps=20)) == 0
    assert "already done (step 50)" in "".join(capsys.readouterr())
    assert contents(folder) == before


def test_run_folder_of_another_model(data: Path, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "run"
    commit(data, folder)
    before = contents(folder)
    code, said = refused(train_command(data, folder, model__generator__latent_size=32))
    assert code == 2
    assert "another model: generator.latent_size is 16 there and 32 in this configuration" in said
    assert str(folder) in said
    assert contents(folder) == before


def test_run_folder_of_another_data_set(
    data: Path, tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    commit(data, folder)
    before = contents(folder)
    assert run_command(["data", "pack", "synthetic:garments:64", str(other)]) == 0
    capsys.readouterr()
    code, said = refused(train_command(other, folder))
    assert code == 2
    for packed in (data, other):
        assert read_index(open_store(str(packed))).fingerprint[:16] in said
    assert contents(folder) == before


def test_a_batch_size_that_would_change_the_order(
    data: Path, tmp_path: Path, refused: Refused
) -> None:
    folder = tmp_path / "run"
    commit(data, folder)
    code, said = refused(train_command(data, folder, training__global_batch_size=32))
    assert code == 2
    assert "training.global_batch_size 16, this configuration has 32" in said


def test_an_empty_resume(data: Path, tmp_path: Path, refused: Refused) -> None:
    code, said = refused([*train_command(data, tmp_path / "run"), "--resume", ""])
    assert code == 2
    assert (
        "--resume is empty; expected auto, never, or the URI of a run folder or a checkpoint"
        in said
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["old #1", "123", "[1]", "~"])
def test_resume_takes_a_path_unchanged(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(data, tmp_path / name)
    command = train_command(data, tmp_path / "run", training__steps=100)
    assert run_command([*command, "--dry-run", "--resume", str(tmp_path / name)]) == 0
    assert "resuming from step 50" in capsys.readouterr().out


def test_an_origin_beyond_the_last_step(data: Path, tmp_path: Path, refused: Refused) -> None:
    commit(data, tmp_path / "old")
    command = train_command(data, tmp_path / "run", training__steps=20)
    code, said = refused([*command, "--resume", str(tmp_path / "old")])
    assert code == 2
    assert (
        f"{tmp_path}/old: is at step 50, but this run ends at step 20"
        " (training.steps or training.epochs)" in said
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_finished_run_whose_last_checkpoint_is_damaged_is_not_done(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    commit(data, folder)
    command = [*train_command(data, folder, training__steps=20), "--dry-run"]
    assert run_command(command) == 0
    assert "already done (step 50)" in capsys.readouterr().out
    (folder / "checkpoints" / "step-000000050" / "generator.npz").write_bytes(b"w")
    manifest = Checkpoints(open_store(str(folder))).committed()[0]
    Checkpoints(open_store(str(folder))).save(
        dataclasses.replace(manifest, step=10, images_seen=160), {"generator.npz": b"weights"}
    )
    assert run_command(command) == 0
    assert "resuming from step 10" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_before_the_run_begins(data: Path, tmp_path: Path) -> None:
    """It takes more than a second to load Ray, after the plan is printed."""
    command, env = train_command(data, tmp_path / "run"), environment(tmp_path)
    with started(command, tmp_path / "log", env) as program:
        program.wait_for_text("length: ")
        program.send(signal.SIGINT)
        assert program.exit_code() == 130
        said = program.output.rstrip().splitlines()[-1]
    assert said == "stopped; the run had not begun; the same command starts at step 0"
    assert not (tmp_path / "run").exists()


def test_run_folder_below_a_file(data: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "run"
    code, said = refused(train_command(data, folder))
    assert code == 3
    assert str(folder) in said
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.s3
def test_bucket_that_is_not_there(data: Path, s3_env: S3Server, refused: Refused) -> None:
    code, said = refused(train_command(data, "s3://no-such-bucket-here/run"))
    assert code == 3
    assert "no-such-bucket-here" in said
    assert s3_env.secret_key not in said


@pytest.mark.s3
@pytest.mark.parametrize(
    ("setting", "value", "code", "said"),
    [
        ("data__cache_bytes", "40KB", 2, "data.cache_bytes is 40 kB; expected at least "),
        (
            "data__cache_bytes",
            "many",
            2,
            "data.cache_bytes is 'many'; expected at least 1 byte, for example 64MiB, 1GB or"
            " 67108864",
        ),
        ("data__cache_bytes", "0", 2, "data.cache_bytes is 0; expected at least 1"),
        (
            "data__cache_dir",
            "s3://bucket/cache",
            2,
            "data.cache_dir is s3://bucket/cache; expected a folder on the local disk",
        ),
        (
            "data__cache_dir",
            "/dev/null",
            3,
            "/dev/null/shards: cannot be used as a cache (Not a directory)",
        ),
        (
            "data__fetch_patience_seconds",
            "600",
            2,
            "watchdog.train_seconds is 450 and data.fetch_patience_seconds is 600; expected more"
            " than the patience",
        ),
        (
            "data__fetch_ahead_batches",
            "-1",
            2,
            "data.fetch_ahead_batches is -1; expected at least 0",
        ),
    ],
)
def test_an_unusable_cache(
    data: Path,
    s3_env: S3Server,
    tmp_path: Path,
    setting: str,
    value: str,
    code: int,
    said: str,
    refused: Refused,
) -> None:
    """Found for data on S3 before anything starts, by --dry-run too."""
    bucket = s3_env.new_bucket()
    shutil.copytree(data, s3_env.folder / bucket / "set")
    settings = {"data__cache_dir": tmp_path / "cache", setting: value}
    command = train_command(f"s3://{bucket}/set", tmp_path / "run", **settings)
    for arguments in (command, [*command, "--dry-run"]):
        found, output = refused(arguments)
        assert found == code
        assert said in output
    assert not (tmp_path / "run").exists()
