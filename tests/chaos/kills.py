"""SIGKILL at random, seeded moments, to one process of a run under Ray or to all, and a restart.

    python -m tests.chaos.kills --kills 20 --seed 1 --steps 6000

prints a line for each kill, and whether the weights at the end are the same.

The store is a real S3 server behind a proxy that can hold a request, so that a kill falls into a
save, a commit, a restore or a download.
"""

import argparse
import enum
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from job.telemetry.ports import port_holder
from tests.launch.program import (
    RAY_AGENTS,
    Program,
    environment,
    newest_step,
    pack_command,
    run,
    session_processes,
    started,
    state,
    train_command,
)
from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.faults import Fault
from tests.servers.prometheus import wait_for
from tests.servers.s3 import S3Server, s3_server

SETTINGS = {
    "checkpoints__every_steps": 50,
    "checkpoints__keep": 2,
    "checkpoints__lease_seconds": 10,
    "samples__every_steps": 10_000,
    "workers__max_restarts": 100,
    "data__fetch_ahead_batches": 20,
    "workers__heartbeat_timeout_seconds": 120,
    "data__fetch_patience_seconds": 60,
    "watchdog__train_seconds": 100,
    "storage__read_timeout_seconds": 25,  # a grid's two attempts within train_seconds
}
HELD_SECONDS = 120.0


class Victim(enum.Enum):
    """The receiver of the signal."""

    CHIEF = "the chief"
    WORKER = "the other worker"
    CONTROLLER = "Ray Train's controller"
    DRIVER = "the driver"
    GROUP = "everything"


class Moment(enum.Enum):
    """Its activity then; the value is the request that is held: method, a part of the path."""

    TRAINING = None
    SAVING = ("PUT", ".npz")
    COMMITTING = ("PUT", "/manifest.json")
    RESTORING = ("GET", ".npz")
    DOWNLOADING = ("GET", ".u8")


@dataclass(frozen=True)
class Kill:
    """One kill: the newest committed step before it, and the seconds until the next commit."""

    victim: Victim
    moment: Moment
    committed_step: int
    seconds: float = 0.0


@dataclass
class Chaos:
    """A run under way: ``command`` started in ``folder`` against ``proxy``.

    Its run folder, ``run_uri``, is ``run_folder`` on this disk.
    """

    command: list[str]
    env: dict[str, str]
    folder: Path
    data_uri: str
    run_uri: str
    run_folder: Path
    cache: Path
    proxy: FaultProxy
    random: random.Random  # for the moments that are not held
    kills: list[Kill] = field(default_factory=list)
    num_starts: int = 0

    def run(
        self,
        plan: Sequence[tuple[Victim, Moment]],
        say: Callable[[str], object] = lambda line: None,
    ) -> str:
        """Run to the end with these kills on the way; return the last attempt's output."""
        plan = list(plan)
        while True:
            with self.start() as program:
                while plan and not self._is_over():
                    victim, moment = plan.pop(0)
                    kill = self._kill(program, victim, moment)
                    if victim in (Victim.DRIVER, Victim.GROUP):
                        self.kills.append(kill)
                        say(f"{kill}")
                        break
                    began = time.monotonic()
                    program.wait_for_checkpoint(
                        self.run_folder, after=kill.committed_step, seconds=200
                    )
                    self.kills.append(
                        Kill(victim, moment, kill.committed_step, time.monotonic() - began)
                    )
                    say(f"{self.kills[-1]}")
                else:
                    code = program.exit_code(600)
                    assert code == 0, f"ended with {code}:\n{program.output[-4000:]}"
                    assert not plan, f"the run ended before these kills: {plan}"
                    return program.output
                assert program.exit_code(60) == -signal.SIGKILL
                # Ray's processes end with their driver: none may still write when the next starts.
                program.nothing_left(but=RAY_AGENTS)

    @contextmanager
    def start(self) -> Iterator[Program]:
        """Start an attempt; end it with all its processes."""
        self.num_starts += 1
        with started(
            self.command, self.folder / f"start-{self.num_starts}.log", self.env
        ) as program:
            yield program

    @contextmanager
    def paused(self, program: Program, grid_step: int) -> Iterator[None]:
        """Hold the write of a later grid: training waits, and both workers serve metrics."""
        before = self.proxy.injected[Fault.HOLD]
        match = f"/samples/step-{grid_step:09d}"
        self.proxy.fault(
            Fault.HOLD, times=2, match=match, methods=("PUT",), stall_seconds=HELD_SECONDS
        )
        program.wait_until(lambda: self.proxy.injected[Fault.HOLD] > before)
        try:
            yield
        finally:
            self.proxy.release()

    def _is_over(self) -> bool:
        return (self.run_folder / "summary.json").exists()

    def _kill(self, program: Program, victim: Victim, moment: Moment) -> Kill:
        """Wait for the moment, and send the signal."""
        committed = newest_step(self.run_folder)
        if moment is Moment.TRAINING or moment is Moment.RESTORING:
            committed = program.wait_for_checkpoint(self.run_folder, after=committed)
            time.sleep(0.3 * self.random.random())  # a fast machine trains 100 steps in a second
        if moment.value:
            method, match = moment.value
            before = self.proxy.injected[Fault.HOLD]
            if moment is Moment.DOWNLOADING:  # what is fetched already would do for a while
                shutil.rmtree(self.cache / "shards", ignore_errors=True)
            self.proxy.fault(
                Fault.HOLD, times=1, match=match, methods=(method,), stall_seconds=HELD_SECONDS
            )
            if moment in (Moment.RESTORING, Moment.DOWNLOADING):  # happens when the group starts
                self._end(program, Victim.WORKER)
            program.wait_until(lambda: self.proxy.injected[Fault.HOLD] > before)
        committed = newest_step(self.run_folder)
        self._end(program, victim)
        self.proxy.clear()
        return Kill(victim, moment, committed)

    def _end(self, program: Program, victim: Victim) -> None:
        for pid in self._pids(program, victim):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _pids(self, program: Program, victim: Victim) -> list[int]:
        if victim is Victim.DRIVER:
            return [program.pid]
        if victim is Victim.GROUP:
            return [process.pid for process in session_processes(program.pid)]
        if victim is Victim.CONTROLLER:
            pids = [
                process.pid
                for process in session_processes(program.pid)
                if process.name.startswith("ray::TrainContr")
            ]
            assert pids, [process.name for process in session_processes(program.pid)]
            return pids
        return [
            wait_for(
                f"a process of {victim.value}",
                lambda: worker_pid(program, 0 if victim is Victim.CHIEF else 1),
                120,
            )
        ]


def worker_pid(program: Program, rank: int) -> int | None:
    """The process that serves the metrics that this rank spoke of last."""
    found = re.findall(rf"metrics of worker {rank}: http://[^/]+:(\d+)/", program.output)
    holder = (
        re.search(r"\(pid (\d+)\)|process (\d+)", port_holder(int(found[-1])) or "")
        if found
        else None
    )
    return int(next(filter(None, holder.groups()))) if holder else None


def random_plan(num_kills: int, seed: int) -> list[tuple[Victim, Moment]]:
    """Each victim and each moment about equally often, in random order."""
    chance = random.Random(seed)
    victims = [list(Victim)[i % len(Victim)] for i in range(num_kills)]
    moments = [list(Moment)[i % len(Moment)] for i in range(num_kills)]
    chance.shuffle(victims)
    chance.shuffle(moments)
    return list(zip(victims, moments, strict=True))


@contextmanager
def chaos(
    server: S3Server, folder: Path, ray_folder: Path, seed: int, **settings: object
) -> Iterator[Chaos]:
    """A run on ``server``, not started yet; its data set has to be packed to ``data_uri``."""
    bucket = server.new_bucket("chaos")
    data_uri, run_uri, cache = f"s3://{bucket}/data", f"s3://{bucket}/run", folder / "cache"
    with fault_proxy(server.endpoint_url) as proxy:
        fixed = {"data__cache_dir": cache, "storage__endpoint_url": proxy.endpoint_url}
        command = train_command(data_uri, run_uri, **(SETTINGS | fixed | settings))
        keys = {name: value for name, value in server.env().items() if name != "AWS_ENDPOINT_URL"}
        yield Chaos(
            command,
            environment(ray_folder, **keys),
            folder,
            data_uri,
            run_uri,
            server.folder / bucket / "run",
            cache,
            proxy,
            random.Random(seed),
        )


def differences(expected: Path, found: Path, step: int) -> list[str]:
    """Names of the arrays of a checkpoint that are not the same bits in both."""
    ours, theirs = state(found, step), state(expected, step)
    assert len(theirs) > 20
    return sorted({*ours} ^ {*theirs}) + [
        name for name in theirs if name in ours and theirs[name].tobytes() != ours[name].tobytes()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6000)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(
            prefix="dcgan-", dir="/tmp", ignore_cleanup_errors=True
        ) as name,
        s3_server() as server,
    ):
        folder = Path(name)
        code, output = run(
            [*pack_command(512, folder / "data"), "--shard-bytes", "64KiB"],
            folder / "pack.log",
            environment(folder),
        )
        assert code == 0, output
        plain = train_command(
            folder / "data", folder / "plain", **(SETTINGS | {"training__steps": arguments.steps})
        )
        code, output = run(plain, folder / "plain.log", environment(folder), seconds=1200)
        assert code == 0, output
        steps = arguments.steps
        with chaos(server, folder, folder, arguments.seed, training__steps=steps) as running:
            shutil.copytree(folder / "data", running.run_folder.with_name("data"))
            try:
                running.run(random_plan(arguments.kills, arguments.seed), say)
            except BaseException:
                kept = Path(tempfile.mkdtemp(prefix="dcgan-kills-", dir="/tmp"))
                shutil.copytree(
                    folder / "ray" / "session_latest" / "logs",
                    kept / "ray",
                    symlinks=True,
                    ignore_dangling_symlinks=True,
                )
                for log in folder.glob("start-*.log"):
                    shutil.copy(log, kept)
                say(f"what the program and Ray wrote is kept in {kept}")
                raise
            different = differences(folder / "plain", running.run_folder, arguments.steps)
        say(
            f"{len(running.kills)} kills, {running.num_starts} starts: "
            f"{different or 'the same bits'}"
        )
    sys.exit(bool(different))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
