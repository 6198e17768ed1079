"""One run on a real S3 server: watched by Prometheus, stopped, killed, and started again each time.

It ends with the very bits of a run that nobody touched (on CPU). ``make chaos`` kills 20 times.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.storage.uri import open_store
from tests.chaos.kills import Chaos, Moment, Victim, chaos, differences, worker_pid
from tests.launch.fixtures import CHECKPOINT_EVERY, GRIDS_EVERY, STEPS, Finished
from tests.launch.program import (
    Program,
    newest_step,
    pack_command,
    run,
    state,
    whole_checkpoints,
)
from tests.servers.prometheus import prometheus, wait_for
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]

# Ray restarts a dead worker but not a dead controller, and keeps the room that it had reserved.
# Before a run restores, a worker is killed.
KILLS = [
    (Victim.CONTROLLER, Moment.SAVING),
    (Victim.CONTROLLER, Moment.RESTORING),
    (Victim.DRIVER, Moment.TRAINING),
]
# The name of a query that gives one series for each rank.
QUERIES = {
    "step": "dcgan_step > 0",
    "loss of D": "dcgan_discriminator_loss > 0",
    "loss of G": "dcgan_generator_loss > 0",
    "D(x)": "dcgan_real_probability > 0 < 1",
    "D(G(z))": "dcgan_fake_probability > 0 < 1",
    "D's accuracy": "dcgan_discriminator_accuracy > 0 <= 1",
    "images per second": "dcgan_images_per_second > 0",
    "seconds per step": "dcgan_step_seconds_sum / dcgan_step_seconds_count > 0",
    "wait for data": "dcgan_data_wait_seconds_total >= 0",
    "last checkpoint": "dcgan_checkpoint_last_step >= 50",
    "age of the last checkpoint": "dcgan_checkpoint_age_seconds >= 0 < 60",
    "seconds computing": "dcgan_compute_seconds_total > 0",
    "gradient norm": "dcgan_generator_gradient_norm > 0",
    "workers": "dcgan_world_size == 2",
    # On one machine, one of two workers may have fetched everything.
    "bytes fetched": "dcgan_fetch_bytes_total >= 0",
    "shards fetched or found": "dcgan_cache_misses_total + dcgan_cache_hits_total > 0",
    "bytes in the cache": "dcgan_cache_bytes > 0",
    "batches ahead": "dcgan_fetch_ahead_batches > 0",
    "retries": "sum by (run, rank) (dcgan_fetch_retries_total) == 0",
}


def test_an_undisturbed_run_leaves_what_it_promises(undisturbed: Finished) -> None:
    assert whole_checkpoints(undisturbed.folder) == [STEPS, STEPS - CHECKPOINT_EVERY]
    assert {name.partition(":")[0] for name in state(undisturbed.folder, STEPS)} == {
        "generator.npz",
        "discriminator.npz",
        "generator_optimizer.npz",
        "discriminator_optimizer.npz",
    }
    assert json.loads((undisturbed.folder / "summary.json").read_text())["restarts"] == 0
    assert {path.name for path in (undisturbed.folder / "samples").iterdir()} == {
        *(f"step-{step:09d}.png" for step in range(0, STEPS + 1, GRIDS_EVERY)),
        "progress.gif",
    }
    for name in ("sample grid", "progress GIF", "checkpoint"):
        printed = re.search(rf"^{name}: +(?:file://)?(/.+)$", undisturbed.output, re.MULTILINE)
        assert printed, undisturbed.output
        assert Path(printed[1]).exists()


@pytest.mark.live
@pytest.mark.s3
@pytest.mark.prometheus
def test_watched_stopped_killed_and_started_again_it_ends_with_the_same_bits(
    s3_server: S3Server, undisturbed: Finished, tmp_path: Path, ray_folder: Path
) -> None:
    """On S3; the undisturbed one was on files."""
    settings = {"training__steps": STEPS, "samples__every_steps": GRIDS_EVERY}
    with chaos(s3_server, tmp_path, ray_folder, seed=4, **settings) as running:
        packed = check(
            running, [*pack_command(512, running.data_uri), "--shard-bytes", "64KiB"], tmp_path
        )
        assert "512 images 28x28x1, 10 classes, 7 shards, 0.4 MB" in packed
        outputs = [packed]
        with running.start() as program:
            with running.paused(program, GRIDS_EVERY):
                check_metrics(program, tmp_path)
                check_forked(program)
                program.wait_for_checkpoint(running.run_folder, after=0)
                check_refused(program, running, tmp_path)
                program.press_ctrl_c()
                program.wait_for_text("stopping after a last checkpoint")
            check_stopped(program, 130, running)
            outputs.append(program.output)
        newest = newest_step(running.run_folder)
        with running.start() as program:
            with running.paused(program, 2 * GRIDS_EVERY):
                assert resumed_from(program.output) == newest > 0
                program.wait_for_checkpoint(running.run_folder, after=newest)
                program.close_terminal()  # `ray job stop` sends SIGTERM: test_ray_job
                program.wait_for_text("stopping after a last checkpoint")
            check_stopped(program, 143, running)
        outputs.append(running.run(KILLS))
        assert [(kill.victim, kill.moment) for kill in running.kills] == KILLS
        assert running.num_starts == 4
        assert running.kills[-1].committed_step <= resumed_from(outputs[-1]) < STEPS
        found = running.run_folder
        outputs.append(check(running, ["checkpoints", "list", running.run_uri], tmp_path))
        assert [line.split()[0] for line in outputs[-1].splitlines()[1:]] == [
            str(STEPS),
            str(STEPS - CHECKPOINT_EVERY),
        ]
        check_generated(running, tmp_path)
        check_generated_on_workers(running, tmp_path)
    assert whole_checkpoints(found)[0] == STEPS
    assert differences(undisturbed.folder, found, STEPS) == []
    for step in range(0, STEPS + 1, GRIDS_EVERY):
        name = f"samples/step-{step:09d}.png"
        assert (found / name).read_bytes() == (undisturbed.folder / name).read_bytes()
    for name in ("run.yaml", "summary.json", "samples/progress.gif"):
        assert (found / name).exists()
    written = [path.read_bytes() for path in files(found.parent) + files(ray_folder)]
    for secret in (s3_server.secret_key, s3_server.access_key):
        assert not [True for text in outputs if secret in text]
        assert not [True for content in written if secret.encode() in content]


def check(running: Chaos, command: list[str], folder: Path) -> str:
    """Return the output of a command on the run's store."""
    endpoint = ["--endpoint-url", running.proxy.endpoint_url]
    code, output = run([*command, *endpoint], folder / f"{command[0]}.log", running.env)
    assert code == 0, output
    return output


def check_metrics(program: Program, folder: Path) -> None:
    """Check that each query has an answer for both ranks while the run lives."""
    addresses = [
        program.wait_for_text(rf"metrics of worker {rank}: http://(\S+)/metrics")[1]
        for rank in (0, 1)
    ]
    with prometheus(addresses, folder) as server:
        for what, query in QUERIES.items():
            wait_for(
                f"{what} of both workers",
                lambda query=query: (
                    {series.labels["rank"] for series in server.query(query)} == {"0", "1"}
                ),
                seconds=60,
            )
        last = server.query("dcgan_step")
    assert {series.labels["run"] for series in last} == {"run"}
    assert len({series.labels["instance"] for series in last}) == 2


def check_forked(program: Program) -> None:
    """Check that both workers are forked, so that neither loaded Ray and TensorFlow by itself."""
    for rank in (0, 1):
        status = Path(f"/proc/{worker_pid(program, rank)}/status").read_text()
        parent = re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)
        assert parent
        command = Path(f"/proc/{parent[1]}/cmdline").read_bytes()
        assert b"job.launch.fork_server" in command


def check_refused(program: Program, running: Chaos, folder: Path) -> None:
    """Check that a second job on the same run folder is rejected and names the first."""
    code, output = run(running.command, folder / "second.log", running.env)
    assert code == 2, output
    assert re.search(
        rf"error: {running.run_uri}: another job trains into this run folder: "
        rf"process {program.pid} on \S+ since 20",
        output,
    )


def resumed_from(output: str) -> int:
    found = re.search(r"resuming from step (\d+)", output)
    assert found, output
    return int(found[1])


def check_stopped(program: Program, code: int, running: Chaos) -> None:
    """Check that the step being trained is saved, nothing is half-written, and work is left."""
    assert program.exit_code(60) == code, program.output
    program.nothing_left()
    assert 0 < whole_checkpoints(running.run_folder)[0] < STEPS
    newest = Checkpoints(open_store(str(running.run_folder))).committed()[0]
    assert newest.reason == "preemption" or newest.step % CHECKPOINT_EVERY == 0
    assert (
        "stopping after a last checkpoint, for at most 25 s; once more to stop at once"
        in program.output
    )
    assert (
        f"the last checkpoint is step {newest.step}; the same command resumes from there"
        in program.output
    )
    assert "Traceback" not in program.output


def check_generated(running: Chaos, folder: Path) -> None:
    """Check that images from the last checkpoint differ from each other."""
    path = folder / "out" / "images.npz"
    options = ["--num", "70", "--format", "npz", "--out", str(path)]
    check(running, ["generate", running.run_uri, *options], folder)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["images"].shape == (70, 28, 28, 1)
        assert len(np.unique(arrays["images"].reshape(70, -1), axis=0)) == 70


def check_generated_on_workers(running: Chaos, folder: Path) -> None:
    """Check that two workers write the parts that one process writes: to S3 and to a folder."""
    uri, out = running.run_uri + "-synthetic", folder / "synthetic"
    options = ["--num", "500", "--part-images", "64", "--format", "shards", "--out"]
    check(running, ["generate", running.run_uri, *options, uri, "--workers", "2"], folder)
    check(running, ["generate", running.run_uri, *options, str(out)], folder)
    check(running, ["data", "verify", uri], folder)
    on_s3 = running.run_folder.with_name(running.run_folder.name + "-synthetic")
    shards = sorted(path.name for path in out.glob("shard-*"))
    assert len(shards) == 8
    for name in shards:
        assert (on_s3 / name).read_bytes() == (out / name).read_bytes()
    assert not (on_s3 / "parts").exists()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
