"""The main job with everything on a real S3 server, watched by a real Prometheus."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.launch.fixtures import run_command
from tests.launch.program import environment, pack_command, run, started
from tests.servers.prometheus import Prometheus, prometheus, wait_for
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.s3, pytest.mark.prometheus]

STEPS = 1000
# What a person wants to know of each worker; the name of a query that gives one series per rank.
QUERIES = {
    "step": "dcgan_step > 0",
    "loss of D": "dcgan_discriminator_loss > 0",
    "loss of G": "dcgan_generator_loss > 0",
    "D(x)": "dcgan_real_probability > 0 < 1",
    "D(G(z))": "dcgan_fake_probability > 0 < 1",
    "images per second": "dcgan_images_per_second > 0",
    "seconds per step": "dcgan_step_seconds_sum / dcgan_step_seconds_count > 0",
    "wait for data": "dcgan_data_wait_seconds_total >= 0",
    "last checkpoint": "dcgan_checkpoint_last_step >= 50",
    "age of the last checkpoint": "dcgan_checkpoint_age_seconds >= 0 < 60",
    "seconds computing": "dcgan_compute_seconds_total > 0",
    "gradient norm": "dcgan_generator_gradient_norm > 0",
    "workers": "dcgan_world_size == 2",
    "bytes fetched": "dcgan_fetch_bytes_total >= 0",  # of two on one machine, one may have fetched everything
    "shards fetched or found": "dcgan_cache_misses_total + dcgan_cache_hits_total > 0",
    "bytes in the cache": "dcgan_cache_bytes > 0",
    "batches ahead": "dcgan_fetch_ahead_batches > 0",
    "retries": "sum by (run, rank) (dcgan_fetch_retries_total) == 0",
}


def test_pack_train_list_and_generate_on_s3(
    s3_server: S3Server, tmp_path: Path, ray_folder: Path
) -> None:
    bucket = s3_server.new_bucket()
    data, folder = f"s3://{bucket}/data", f"s3://{bucket}/runs/one"
    secrets = {name: value for name, value in s3_server.env().items() if name != "AWS_ENDPOINT_URL"}
    env = environment(ray_folder, **secrets)
    endpoint = ["--endpoint-url", s3_server.endpoint_url]

    packed = check([*pack_command(512, data), *endpoint], tmp_path, env)
    assert "512 images 28x28x1, 10 classes, 2 shards, 0.4 MB" in packed

    settings = {
        "storage__endpoint_url": s3_server.endpoint_url,
        "data__cache_dir": tmp_path / "cache",
        "training__steps": STEPS,
        "checkpoints__lease_seconds": 3,
    }
    with started(run_command(data, folder, **settings), tmp_path / "train.log", env) as program:
        program.wait_for_text("metrics of worker 0")
        code, told = run(run_command(data, folder, **settings), tmp_path / "second.log", env)
        assert code == 2, told
        assert re.search(
            rf"error: {folder}: another job trains into this run folder: process {program.pid} on \S+ since 20",
            told,
        )
        addresses = [
            program.wait_for_text(rf"metrics of worker {rank}: http://(\S+)/metrics")[1]
            for rank in (0, 1)
        ]
        with prometheus(addresses, tmp_path) as server:
            check_metrics(server)
        assert program.exit_code(300) == 0, program.output
        program.nothing_left()
        trained = program.output

    listed = check(["checkpoints", "list", folder, *endpoint], tmp_path, env)
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [str(STEPS), str(STEPS - 50)]
    generated = tmp_path / "out" / "images.npz"
    check(
        ["generate", folder, "--num", "70", "--format", "npz", "--out", str(generated), *endpoint],
        tmp_path,
        env,
    )
    with np.load(generated, allow_pickle=False) as arrays:
        assert arrays["images"].shape == (70, 28, 28, 1)
        assert len(np.unique(arrays["images"].reshape(70, -1), axis=0)) == 70

    objects = {
        path.relative_to(s3_server.folder / bucket).as_posix(): path
        for path in (s3_server.folder / bucket).rglob("*")
        if path.is_file()
    }
    assert {
        "runs/one/run.yaml",
        "runs/one/summary.json",
        "runs/one/samples/progress.gif",
    } <= objects.keys()
    written = [path.read_bytes() for path in objects.values()] + [
        trained.encode(),
        packed.encode(),
        listed.encode(),
    ]
    logged = [
        path.read_bytes()
        for path in ray_folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    for secret in (s3_server.secret_key, s3_server.access_key):
        assert not [True for content in written if secret.encode() in content]
        assert not [True for content in logged if secret.encode() in content]


def check(command: list[str], folder: Path, env: dict[str, str]) -> str:
    code, output = run(command, folder / f"{command[0]}.log", env)
    assert code == 0, output
    return output


def check_metrics(server: Prometheus) -> None:
    """Each query is answered for both ranks while the run goes on."""
    for what, query in QUERIES.items():
        wait_for(
            f"{what} of both workers",
            lambda query=query: (
                {series.labels["rank"] for series in server.query(query)} == {"0", "1"}
            ),
            seconds=60,
        )
    assert {series.labels["run"] for series in server.query("dcgan_step")} == {"one"}
    last = server.query("dcgan_step")
    assert len({series.labels["instance"] for series in last}) == 2
