"""The fault table: training with faults of network, store and node gives the same bits.

Each run streams 40 shards through room for 34, twice, from a real S3 server behind a proxy that
spoils answers. On a CPU training repeats bit for bit, so the weights at the end are those of the
undisturbed run when and only when every step saw the images that it saw there, in their order. The
counters say what happened.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from job.config.storage import StorageSpec
from job.data.index import read_index
from job.storage.s3 import S3Store
from job.storage.uri import open_store
from job.streaming.events import RETRIES
from tests.launch.program import Program, started, state
from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.faults import Fault
from tests.servers.ports import free_port
from tests.servers.s3 import S3Server
from tests.streaming.sets import numbers_of, open_reader, pack_numbered

pytestmark = [pytest.mark.s3, pytest.mark.training, pytest.mark.timeout(400)]

STEPS = 200  # of 16 images; an epoch of 1,600 is 100
SHARD_BYTES = 40 * 64
ROOM = 34  # shards that the cache holds; two workers read 32 at the same time
SETTINGS = {
    "model.image_size": 8,
    "model.generator.filters": "[8]",
    "model.generator.latent_size": 8,
    "model.discriminator.filters": "[8]",
    "training.global_batch_size": 16,
    "training.steps": STEPS,
    "training.steps_per_call": 5,
    "checkpoints.every_steps": 50,
    "samples.every_steps": 200,
    "data.cache_bytes": ROOM * SHARD_BYTES,
    "data.fetch_ahead_batches": 10,
    "data.fetch_patience_seconds": 90,
    "storage.max_connections": 4,
    "metrics.port": 0,
    "metrics.linger_seconds": 0,
}


@dataclass
class Ended:
    """A finished run: its folder, its last attempt's counters by rank, the proxy's counts."""

    folder: Path
    output: str
    counters: list[dict[str, float]]
    injected: dict[Fault, int] = field(default_factory=dict)
    sent_bytes: int = 0

    def count(self, name: str) -> float:
        """Return a counter (docs/metrics.md), summed over ranks, with ``{reason}`` for a label."""
        metric, _, reason = name.rstrip("}").partition("{")
        return sum(
            value
            for counters in self.counters
            for series, value in counters.items()
            if series.startswith(f"{metric}{{") and (not reason or f'reason="{reason}"' in series)
        )


@dataclass
class Bench:
    """A server and a packed data set for the runs."""

    server: S3Server
    uri: str
    folder: Path


@pytest.fixture(scope="module")
def bench(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("faults")
    pack_numbered(folder / "set", 1600, 40, height=8, width=8)
    bucket = s3_server.new_bucket("faults")
    shutil.copytree(folder / "set", s3_server.folder / bucket / "set")
    return Bench(s3_server, f"s3://{bucket}/set", folder)


Act = Callable[[FaultProxy, Sequence[Program], Path], None]


def run(
    bench: Bench,
    name: str,
    *,
    prepare: Callable[[FaultProxy], None] = lambda proxy: None,
    act: Act | None = None,
    workers: int = 1,
    data: str | None = None,
) -> Ended:
    """Train to the end: ``prepare`` sets faults before, ``act`` acts during it and may end it."""
    folder, cache = bench.folder / name, bench.folder / f"{name}-cache"
    values = SETTINGS | {
        "uri": folder,
        "data.uri": data or bench.uri,
        "data.cache_dir": cache,
        "workers.count": workers,
    }
    arguments = [f"{key}={value}" for key, value in values.items()]
    with fault_proxy(bench.server.endpoint_url) as proxy:
        prepare(proxy)
        base = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        env = (
            base
            | bench.server.env()
            | {
                "AWS_ENDPOINT_URL": proxy.endpoint_url,
                "TF_CPP_MIN_LOG_LEVEL": "2",
            }
        )
        while True:
            with ExitStack() as stack:
                addresses = [f"127.0.0.1:{free_port()}" for _ in range(workers)]
                logs = [bench.folder / f"{name}-{rank}.log" for rank in range(workers)]
                programs = []
                for rank, log in enumerate(logs):
                    log.unlink(missing_ok=True)
                    cluster = {
                        "cluster": {"worker": addresses},
                        "task": {"type": "worker", "index": rank},
                    }
                    command = [str(rank), str(workers), *arguments]
                    programs.append(
                        stack.enter_context(
                            started(
                                command,
                                log,
                                env | {"TF_CONFIG": json.dumps(cluster)},
                                "tests.streaming.worker",
                                fork=True,
                            )
                        )
                    )
                if act is not None:
                    act(proxy, programs, cache)
                codes = [program.exit_code(200) for program in programs]
                act = None
                if codes != [-signal.SIGKILL]:
                    break
        assert codes == [0] * workers, "\n".join(program.output[-3000:] for program in programs)
        counters = [
            {
                series: float(value)
                for series, value in re.findall(
                    r"^counter (\S+) (\S+)$", program.output, re.MULTILINE
                )
            }
            for program in programs
        ]
        return Ended(
            folder,
            programs[0].output,
            counters,
            dict(proxy.injected),
            sum(proxy.body_bytes.values()),
        )


def kill_while_a_shard_arrives(proxy: FaultProxy, programs: Sequence[Program], cache: Path) -> None:
    """Send SIGKILL in the middle of a download, after a checkpoint was committed."""
    programs[0].wait_for_text(r"step 60\b")
    proxy.fault(Fault.STALL, times=1, match=".u8", stall_seconds=60)
    programs[0].wait_until(
        lambda: proxy.injected[Fault.STALL] == 1 and list(cache.glob("shards/*.partial"))
    )
    # Its upload continues during training.
    programs[0].wait_for_checkpoint(cache.with_name("killed"), after=0)
    programs[0].send(signal.SIGKILL)
    proxy.clear()


def delete_the_cache(proxy: FaultProxy, programs: Sequence[Program], cache: Path) -> None:
    """Again and again, at whatever the run is doing then."""
    for step in (20, 60, 110, 150):
        programs[0].wait_for_text(rf"step {step}\b")
        shutil.rmtree(cache / "shards", ignore_errors=True)


def burst(proxy: FaultProxy) -> None:
    for seed, fault in enumerate(
        (Fault.ERROR_500, Fault.ERROR_502, Fault.ERROR_503, Fault.LOST_ANSWER)
    ):
        proxy.fault(fault, share=0.15, seed=seed, match=".u8")


def flip_twice(proxy: FaultProxy) -> None:
    """Flip bits of some shards twice; a third time would end the run."""
    for number in (3, 14, 27, 38):
        proxy.fault(Fault.FLIP, times=2, match=f"shard-{number:05d}.u8")


RUNS: dict[str, Callable[[Bench], Ended]] = {
    "undisturbed": lambda bench: run(bench, "undisturbed"),
    "throttling": lambda bench: run(
        bench,
        "throttling",
        prepare=lambda proxy: proxy.fault(Fault.ERROR_503, seconds=60, match=".u8"),
    ),
    "two workers undisturbed": lambda bench: run(
        bench, "two-local", workers=2, data=str(bench.folder / "set")
    ),
    "two workers": lambda bench: run(bench, "two", workers=2),
    "stalls": lambda bench: run(
        bench,
        "stalls",
        prepare=lambda proxy: proxy.fault(Fault.STALL, times=3, match=".u8", stall_seconds=10),
    ),
    "bursts": lambda bench: run(bench, "bursts", prepare=burst),
    "resets": lambda bench: run(
        bench, "resets", prepare=lambda proxy: proxy.fault(Fault.RESET, share=0.3, match=".u8")
    ),
    "truncation": lambda bench: run(
        bench,
        "truncation",
        prepare=lambda proxy: proxy.fault(Fault.TRUNCATE, share=0.3, match=".u8"),
    ),
    "bit flips": lambda bench: run(bench, "flips", prepare=flip_twice),
    "killed": lambda bench: run(bench, "killed", act=kill_while_a_shard_arrives),
    "cache lost": lambda bench: run(bench, "lost", act=delete_the_cache),
}


@pytest.fixture(scope="module")
def runs(bench: Bench) -> Iterator[dict[str, Future[Ended]]]:
    """All of them, three at a time: most of what they do is wait."""
    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(make, bench) for name, make in RUNS.items()}


def assert_same_weights(found: Ended, undisturbed: Ended) -> None:
    wanted, got = state(undisturbed.folder, STEPS), state(found.folder, STEPS)
    assert wanted.keys() == got.keys()
    assert len(wanted) > 20
    for name, array in wanted.items():
        assert np.array_equal(array, got[name]), name


@pytest.mark.live
def test_undisturbed(runs: dict[str, Future[Ended]], bench: Bench) -> None:
    """The reference of the others: every epoch is downloaded once, without retries."""
    ended = runs["undisturbed"].result()
    size = sum(
        shard.num_bytes for shard in read_index(open_store(str(bench.folder / "set"))).shards
    )
    assert ended.count("dcgan_fetch_retries_total") == 0
    assert size < ended.count("dcgan_fetch_bytes_total") <= 2.2 * size
    assert ended.count("dcgan_cache_bytes") <= ROOM * SHARD_BYTES


@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "fault", "reasons"),
    [
        ("bursts", Fault.ERROR_500, {"server_error", "throttled", "connection"}),
        ("resets", Fault.RESET, {"connection"}),
        ("truncation", Fault.TRUNCATE, {"truncated"}),
        ("bit flips", Fault.FLIP, {"corrupt"}),
        ("throttling", Fault.ERROR_503, {"throttled"}),
    ],
)
def test_retries_equal_faults(
    runs: dict[str, Future[Ended]], name: str, fault: Fault, reasons: set[str]
) -> None:
    ended = runs[name].result()
    assert ended.injected[fault] >= 3
    retried = {
        reason for reason in RETRIES if ended.count(f"dcgan_fetch_retries_total{{{reason}}}")
    }
    assert retried == reasons
    assert ended.count("dcgan_fetch_retries_total") == sum(ended.injected.values())
    assert_same_weights(ended, runs["undisturbed"].result())


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ERROR_500,
        Fault.ERROR_503,
        Fault.LOST_ANSWER,
        Fault.RESET,
        Fault.TRUNCATE,
        Fault.STALL,
    ],
)
@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_epoch_is_every_image_once(
    bench: Bench, s3_env: S3Server, tmp_path: Path, fault: Fault, num_workers: int
) -> None:
    """The images of all workers by number, with faults in a third of the requests."""
    seen = []
    with fault_proxy(s3_env.endpoint_url) as proxy:
        proxy.fault(fault, share=0.3, match=".u8", stall_seconds=0.1)
        store = S3Store(bench.uri, StorageSpec(endpoint_url=proxy.endpoint_url))
        for worker in range(num_workers):
            options = {
                "batch": 16,
                "worker": worker,
                "num_workers": num_workers,
                "cache_bytes": 2 * ROOM * SHARD_BYTES,
            }
            with open_reader(store, tmp_path / str(worker), connections=16, **options) as reader:
                seen += [numbers_of(reader.chunk(step, 10)).ravel() for step in range(0, 100, 10)]
        assert proxy.injected[fault] > 5
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(1600))


@pytest.mark.live
def test_bursts_are_of_every_kind(runs: dict[str, Future[Ended]]) -> None:
    injected = runs["bursts"].result().injected
    assert (
        min(
            injected[fault]
            for fault in (
                Fault.ERROR_500,
                Fault.ERROR_502,
                Fault.ERROR_503,
                Fault.LOST_ANSWER,
            )
        )
        >= 1
    )


@pytest.mark.live
def test_throttling_for_a_minute_is_waited_out(runs: dict[str, Future[Ended]]) -> None:
    ended = runs["throttling"].result()
    # The minute begins before the program starts: on a busy machine training waited 22 s of it.
    assert ended.count("dcgan_data_wait_seconds_total") > 5
    assert ended.injected[Fault.ERROR_503] < 200  # it does not hammer: four threads for a minute


@pytest.mark.live
def test_stalls_of_ten_seconds_are_waited_out(runs: dict[str, Future[Ended]]) -> None:
    ended = runs["stalls"].result()
    assert ended.injected[Fault.STALL] == 3
    assert ended.count("dcgan_fetch_retries_total") == 0
    assert ended.count("dcgan_fetch_seconds_sum") > 25
    assert_same_weights(ended, runs["undisturbed"].result())


@pytest.mark.live
def test_a_lost_cache_folder_is_created_again(runs: dict[str, Future[Ended]]) -> None:
    ended, undisturbed = runs["cache lost"].result(), runs["undisturbed"].result()
    assert ended.count("dcgan_fetch_bytes_total") >= undisturbed.count("dcgan_fetch_bytes_total")
    assert_same_weights(ended, undisturbed)


@pytest.mark.live
def test_killed_while_a_shard_arrives(runs: dict[str, Future[Ended]]) -> None:
    ended = runs["killed"].result()
    assert ended.injected[Fault.STALL] == 1
    first = int(re.search(r"^step (\d+)$", ended.output, re.MULTILINE)[1])  # type: ignore[index]
    assert first >= 50  # the second attempt resumes from a checkpoint
    assert_same_weights(ended, runs["undisturbed"].result())


@pytest.mark.live
def test_two_workers_race_for_the_same_shards(runs: dict[str, Future[Ended]], bench: Bench) -> None:
    """On one cache each shard is downloaded once, by either worker."""
    ended = runs["two workers"].result()
    size = sum(
        shard.num_bytes for shard in read_index(open_store(str(bench.folder / "set"))).shards
    )
    assert size < ended.count("dcgan_fetch_bytes_total") <= 2.2 * size
    assert ended.count("dcgan_fetch_retries_total") == 0
    assert_same_weights(ended, runs["two workers undisturbed"].result())
