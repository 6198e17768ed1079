"""A run of two workers with injected faults, watched by a real Prometheus with the chart's rules.

It trains from a real S3 server through a proxy, with a cache too small for its images. Then the
store rejects saves and slows reads down; a worker stops; both are killed and the newest checkpoint
gets weights so large that the losses are NaN, again after the rollback,
until it gives up.

    with scripted_run(tmp_path, ray_folder) as scenario:
        scenario.server.query("dcgan_step")
"""

import dataclasses
import io
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from job.checkpoints import arrays
from job.checkpoints.checkpoints import Checkpoints
from job.config.storage import StorageSpec
from job.storage.uri import open_store
from job.telemetry.ports import port_holder
from tests.dashboards.rules_files import ALERTS, RECORDING, shortened
from tests.launch.program import (
    START_SECONDS,
    Program,
    environment,
    pack_command,
    run,
    started,
    train_command,
)
from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.faults import Fault
from tests.servers.ports import free_port
from tests.servers.prometheus import Prometheus, prometheus, wait_for
from tests.servers.s3 import S3Server, s3_server

# 10 minutes of the rules are 15 s here: a failed save is retried after at most 10 s, so that each
# window has an attempt.
SHORTER = 1 / 40
MIN_RANGE_SECONDS = 8  # two scrapes must lie in it, also on a busy machine
HEALTHY_STEPS, EVERY_STEPS, GRID_STEPS = 400, 50, 100
LINGER_SECONDS = 5
ALERT_SECONDS = 240.0  # a start of the workers is among what is waited for
SETTINGS = {
    "training__steps": 1_000_000,
    "training__max_rollbacks": 1,
    "checkpoints__every_steps": EVERY_STEPS,
    "checkpoints__lease_seconds": 5,
    "samples__every_steps": GRID_STEPS,
    "quality__every_steps": GRID_STEPS,
    "quality__num_images": 200,
    "data__fetch_ahead_batches": 40,
    "data__cache_bytes": 2_000_000,
    "metrics__linger_seconds": LINGER_SECONDS,
}


class Moment(NamedTuple):
    """Something was done, or an alert fired, at ``time`` (of ``time.time``)."""

    time: float
    what: str


@dataclass
class Scenario:
    """The run, and when what was done to it."""

    server: Prometheus
    store: S3Server
    proxy: FaultProxy
    program: Program
    bucket: str
    port: int
    moments: list[Moment] = field(default_factory=list)
    exit_code: int | None = None

    def play(self) -> None:
        """Inject all faults in turn, each until its alert has fired."""
        self.program.wait_for_text("metrics of worker 1")
        self.program.wait_until(
            lambda: (self.server.value("max(dcgan_step)") or 0) >= HEALTHY_STEPS
        )
        self._say("store refuses")
        self.proxy.fault(Fault.ERROR_503, methods=("PUT", "DELETE"), match="/checkpoints/step-")
        self.proxy.fault(Fault.ERROR_503, share=0.3, match=".u8")
        self._wait_for_alerts("DcganCheckpointFailing", "DcganStoreThrottled")
        self.proxy.clear()
        self._wait_for_a_checkpoint()
        self._say("worker 1 stopped")
        os.kill(self._pid(1), signal.SIGSTOP)
        self._wait_for_alerts("DcganNoProgress")
        os.kill(self._pid(1), signal.SIGCONT)
        self._wait_for_a_checkpoint()
        self._say("both killed, bad weights")
        workers = [self._pid(rank) for rank in (0, 1)]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        self._spoil_newest()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self._wait_for_alerts("DcganNonFinite")
        self.exit_code = self.program.exit_code(START_SECONDS)
        self._say("ended")

    def _say(self, what: str) -> None:
        self.moments.append(Moment(time.time(), what))

    def _wait_for_alerts(self, *names: str) -> None:
        for name in names:
            wait_for(
                f"{name} to fire",
                lambda name=name: self.server.query(
                    f'ALERTS{{alertname="{name}", alertstate="firing"}}'
                ),
                ALERT_SECONDS,
            )
            self._say(name)

    def _wait_for_a_checkpoint(self) -> None:
        """So that each fault meets a run that is well again."""
        step = self.server.value("max(dcgan_step)") or 0
        self.program.wait_until(
            lambda: (self.server.value("max(dcgan_checkpoint_last_step)") or 0) > step
        )

    def _pid(self, rank: int) -> int:
        """Return the process id of the worker that serves metrics on the port of this rank."""
        return int(re.findall(r"pid (\d+)", port_holder(self.port + rank) or "")[0])

    def _spoil_newest(self) -> None:
        """Commit a valid checkpoint whose discriminator overflows float32."""
        with patch.dict(os.environ, self.store.env()):
            checkpoints = Checkpoints(
                open_store(run_uri(self.bucket), StorageSpec(endpoint_url=self.store.endpoint_url))
            )
            manifest, parts = checkpoints.restore() or (None, {})
            assert manifest
            with np.load(io.BytesIO(parts["discriminator.npz"]), allow_pickle=False) as loaded:
                parts["discriminator.npz"] = arrays.pack(
                    {name: loaded[name] * np.float32(1e30) for name in loaded.files}
                )
            checkpoints.save(
                dataclasses.replace(manifest, step=manifest.step + 2 * EVERY_STEPS), parts
            )


def run_uri(bucket: str) -> str:
    return f"s3://{bucket}/runs/eventful"


@contextmanager
def scripted_run(folder: Path, ray_folder: Path) -> Iterator[Scenario]:
    """Run the scenario; Prometheus answers within the block and everything is ended after it."""
    with ExitStack() as stack:
        store = stack.enter_context(s3_server())
        proxy = stack.enter_context(fault_proxy(store.endpoint_url))
        secrets = {name: value for name, value in store.env().items() if name != "AWS_ENDPOINT_URL"}
        bucket, env = store.new_bucket(), environment(ray_folder, **secrets)
        pack = [*pack_command(4096, f"s3://{bucket}/data"), "--shard-bytes", "64KiB"]
        fit = ["quality", "fit", f"s3://{bucket}/data", "--epochs", "1"]
        for name, arguments in (("pack", pack), ("fit", fit)):
            command = [*arguments, "--endpoint-url", store.endpoint_url]
            code, output = run(command, folder / f"{name}.log", env)
            assert code == 0, output
        port = two_ports()
        short = [
            shortened(path, folder, SHORTER, MIN_RANGE_SECONDS) for path in (RECORDING, ALERTS)
        ]
        server = stack.enter_context(
            prometheus([f"127.0.0.1:{port + rank}" for rank in (0, 1)], folder, short)
        )
        places = {
            "storage__endpoint_url": proxy.endpoint_url,
            "data__cache_dir": folder / "cache",
            "metrics__port": port,
        }
        command = train_command(f"s3://{bucket}/data", run_uri(bucket), **SETTINGS, **places)
        program = stack.enter_context(started(command, folder / "train.log", env))
        scenario = Scenario(
            server, store, proxy, program, bucket, port, [Moment(time.time(), "started")]
        )
        try:
            scenario.play()
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{scenario.moments}\n{program.output[-4000:]}"
            ) from error
        yield scenario


def two_ports() -> int:
    """The first of two ports in a row that nothing listens on now."""
    for _ in range(100):
        port = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise RuntimeError("no two free ports in a row")
