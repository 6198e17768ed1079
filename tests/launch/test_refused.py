"""What ``train`` refuses before any process starts: exit code, the words, and a run folder left as it was. No Ray, no TensorFlow."""

import dataclasses
import re
import shutil
import socket
from pathlib import Path

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.load import load_run
from job.data.index import read_index
from job.storage.uri import open_store
from job.training.identity import model_identity, order_identity
from tests.launch.program import environment, run, train_command
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.slow
QUICK_SECONDS = 30.0


def refused(command: list[str], folder: Path, **env: str) -> tuple[int, str]:
    """Exit code and message of a command that ends with one line and no traceback."""
    code, output = run(command, folder / "refused.log", environment(folder, **env), QUICK_SECONDS)
    assert output.startswith("error: "), output
    assert output.count("\n") == 1, output
    return code, output


def commit_step_50(data: Path, folder: Path) -> None:
    """A run folder with one checkpoint, of a ``SMALL`` run on ``data``."""
    spec = load_run(overrides=train_command(data, folder)[2::2])
    index = read_index(open_store(str(data)))
    facts = Manifest(
        50,
        800,
        "2026-01-01T00:00:00+00:00",
        model_identity(spec),
        index.fingerprint,
        order_identity(spec),
        2,
        {},
        {},
        (),
    )
    Checkpoints(open_store(str(folder))).save(facts, {"generator.npz": b"weights"})


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_of_another_size(garments: Path, tmp_path: Path) -> None:
    code, said = refused(
        train_command(garments, tmp_path / "run", model__image_size="[32,32]"), tmp_path
    )
    assert code == 2
    assert "images are 28x28x1, the model takes 32x32x1" in said
    assert "model.image_size" in said
    assert "--size 32x32 --channels 1" in said
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_one_batch(garments: Path, tmp_path: Path) -> None:
    code, said = refused(
        train_command(garments, tmp_path / "run", training__global_batch_size=1024), tmp_path
    )
    assert code == 5
    assert (
        "512 images; expected at least one global batch of 1024 (training.global_batch_size)"
        in said
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_data_without_an_index(tmp_path: Path, exists: bool) -> None:
    data = tmp_path / "data"
    if exists:
        data.mkdir()
    code, said = refused(train_command(data, tmp_path / "run"), tmp_path)
    assert code == 5
    assert str(data) in said
    assert "index.json" in said
    assert "dcgan-train data pack" in said
    assert not (tmp_path / "run").exists()


def test_missing_bytes_in_the_index(garments: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(garments, data)
    text = (data / "index.json").read_text()
    (data / "index.json").write_text(text[: len(text) // 2])
    code, said = refused(train_command(data, tmp_path / "run"), tmp_path)
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
    garments: Path, tmp_path: Path, damage: str, said_of_it: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(garments, data)
    shard = data / "shard-00000.u8"
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:100])
    code, said = refused(train_command(data, tmp_path / "run"), tmp_path)
    assert code == 5
    assert f"shard-00000.u8: {said_of_it}" in said
    assert not (tmp_path / "run").exists()


def test_fewer_steps_than_are_done_is_no_work(garments: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    commit_step_50(garments, folder)
    before = contents(folder)
    code, output = run(
        train_command(garments, folder, training__steps=20),
        tmp_path / "log",
        environment(tmp_path),
        QUICK_SECONDS,
    )
    assert code == 0
    assert "already done (step 50)" in output
    assert contents(folder) == before


def test_run_folder_of_another_model(garments: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    commit_step_50(garments, folder)
    before = contents(folder)
    code, said = refused(
        train_command(garments, folder, model__generator__latent_size=32), tmp_path
    )
    assert code == 2
    assert "another model: generator.latent_size is 16 there and 32 in this configuration" in said
    assert str(folder) in said
    assert contents(folder) == before


def test_run_folder_of_another_data_set(garments: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    commit_step_50(garments, folder)
    before = contents(folder)
    code, output = run(
        ["data", "pack", "synthetic:garments:64", str(other)],
        tmp_path / "pack.log",
        environment(tmp_path),
        QUICK_SECONDS,
    )
    assert code == 0, output
    code, said = refused(train_command(other, folder), tmp_path)
    assert code == 2
    for data in (garments, other):
        assert read_index(open_store(str(data))).fingerprint[:16] in said
    assert contents(folder) == before


def test_a_batch_size_that_would_change_the_order(garments: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    commit_step_50(garments, folder)
    code, said = refused(train_command(garments, folder, training__global_batch_size=32), tmp_path)
    assert code == 2
    assert "training.global_batch_size 16, this configuration has 32" in said


def test_an_empty_resume(garments: Path, tmp_path: Path) -> None:
    code, said = refused([*train_command(garments, tmp_path / "run"), "--resume", ""], tmp_path)
    assert code == 2
    assert (
        "--resume is empty; expected auto, never, or the URI of a run folder or a checkpoint"
        in said
    )


@pytest.mark.parametrize("name", ["old #1", "123", "[1]", "~"])
def test_resume_takes_a_path_as_it_is(name: str, garments: Path, tmp_path: Path) -> None:
    commit_step_50(garments, tmp_path / name)
    command = [
        *train_command(garments, tmp_path / "run", training__steps=100),
        "--dry-run",
        "--resume",
        str(tmp_path / name),
    ]
    code, output = run(command, tmp_path / "log", environment(tmp_path), QUICK_SECONDS)
    assert code == 0, output
    assert "resuming from step 50" in output


def test_an_origin_beyond_the_last_step(garments: Path, tmp_path: Path) -> None:
    commit_step_50(garments, tmp_path / "old")
    code, said = refused(
        [
            *train_command(garments, tmp_path / "run", training__steps=20),
            "--resume",
            str(tmp_path / "old"),
        ],
        tmp_path,
    )
    assert code == 2
    assert (
        f"{tmp_path}/old: is at step 50, but this run ends at step 20 (training.steps or training.epochs)"
        in said
    )
    assert not (tmp_path / "run").exists()


def test_a_finished_run_whose_last_checkpoint_is_damaged_is_not_done(
    garments: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    commit_step_50(garments, folder)
    command = [*train_command(garments, folder, training__steps=20), "--dry-run"]
    code, output = run(command, tmp_path / "log", environment(tmp_path), QUICK_SECONDS)
    assert (code, "already done (step 50)" in output) == (0, True)
    (folder / "checkpoints" / "step-000000050" / "generator.npz").write_bytes(b"w")
    facts = Checkpoints(open_store(str(folder))).committed()[0]
    Checkpoints(open_store(str(folder))).save(
        dataclasses.replace(facts, step=10, images_seen=160), {"generator.npz": b"weights"}
    )
    code, output = run(command, tmp_path / "again.log", environment(tmp_path), QUICK_SECONDS)
    assert code == 0, output
    assert "resuming from step 10" in output


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"workers__count": 64, "training__global_batch_size": 64},
            r"error: workers\.count is 64, each with 1 CPU and 0 GPUs; found room for \d+ on this machine with .*\. Lower workers\.count",
        ),
        (
            {"workers__gpus": 1},
            r"error: workers\.count is 2, each with 1 CPU and 1 GPU; found room for 0 on .* and 0 GPUs\. ",
        ),
    ],
)
def test_more_than_this_machine_has(
    settings: dict[str, object], said: str, more: list[str], garments: Path, tmp_path: Path
) -> None:
    command = [*train_command(garments, tmp_path / "run", **settings), *more]
    # Without devices Ray counts no GPU, also on a machine that has one.
    code, output = run(
        command, tmp_path / "log", environment(tmp_path, CUDA_VISIBLE_DEVICES=""), QUICK_SECONDS
    )
    assert code == 2
    assert re.match(said, output.splitlines()[-1])
    assert not (tmp_path / "run" / "starts").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_taken_metrics_port_is_named_with_its_holder(
    more: list[str], garments: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # One worker: the port after it may be anybody's.
        command = [
            *train_command(garments, tmp_path / "run", metrics__port=port, workers__count=1),
            *more,
        ]
        code, output = run(command, tmp_path / "log", environment(tmp_path), QUICK_SECONDS)
    assert code == 2
    said = output.splitlines()[-1]
    assert re.match(
        rf"error: metrics\.port {port} is taken by \S+ \(pid \d+\); expected a free port: .*metrics\.port=0",
        said,
    )
    assert not (tmp_path / "run" / "starts").exists()


def test_a_port_that_no_worker_of_this_machine_takes_may_be_taken(
    garments: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [
            *train_command(
                garments, tmp_path / "run", metrics__port=port, metrics__enabled="false"
            ),
            "--dry-run",
        ]
        assert run(command, tmp_path / "off.log", environment(tmp_path), QUICK_SECONDS)[0] == 0
        command = [
            *train_command(garments, tmp_path / "run", metrics__port=port, workers__gpus=1),
            "--dry-run",
        ]
        code, said = run(
            command,
            tmp_path / "ray.log",
            environment(tmp_path, RAY_ADDRESS="elsewhere:6379"),
            QUICK_SECONDS,
        )
    assert code == 0
    assert said.endswith(
        "# not checked: whether the run folder can be written, whether TensorFlow finds the GPUs, room for the workers and free ports in the"
        " cluster that RAY_ADDRESS names\n"
    )


def test_run_folder_below_a_file(garments: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "run"
    code, said = refused(train_command(garments, folder), tmp_path)
    assert code == 3
    assert str(folder) in said
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.s3
def test_bucket_that_is_not_there(garments: Path, tmp_path: Path, s3_server: S3Server) -> None:
    code, said = refused(
        train_command(garments, "s3://no-such-bucket-here/run"), tmp_path, **s3_server.env()
    )
    assert code == 3
    assert "no-such-bucket-here" in said
    assert s3_server.secret_key not in said


@pytest.mark.s3
@pytest.mark.parametrize(
    ("setting", "value", "code", "said"),
    [
        ("data__cache_bytes", "40KB", 2, "data.cache_bytes is 40 kB; expected at least "),
        (
            "data__cache_bytes",
            "many",
            2,
            "data.cache_bytes is 'many'; expected a number of bytes, for example 64MiB, 1GB or 67108864",
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
            "watchdog.train_seconds is 450 and data.fetch_patience_seconds is 600; expected more than the patience",
        ),
        (
            "data__fetch_ahead_batches",
            "-1",
            2,
            "data.fetch_ahead_batches is -1; expected at least 0",
        ),
    ],
)
def test_a_cache_that_cannot_do(
    garments: Path,
    s3_server: S3Server,
    tmp_path: Path,
    setting: str,
    value: str,
    code: int,
    said: str,
) -> None:
    """Found for data on S3 before anything starts, by --dry-run too."""
    bucket = s3_server.new_bucket()
    shutil.copytree(garments, s3_server.folder / bucket / "set")
    settings = {"data__cache_dir": tmp_path / "cache", setting: value}
    command = train_command(f"s3://{bucket}/set", tmp_path / "run", **settings)
    for arguments in (command, [*command, "--dry-run"]):
        found, output = refused(arguments, tmp_path, **s3_server.env())
        assert found == code
        assert said in output
        (tmp_path / "refused.log").unlink()
    assert not (tmp_path / "run").exists()
