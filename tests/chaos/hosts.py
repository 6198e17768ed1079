"""A run on several hosts, one of which dies, is cut off, is drained or returns, and its cost.

    python -m tests.chaos.hosts                    prints the table of docs/reliability.md
    python -m tests.chaos.hosts kill drain         the faults whose names begin so

Hosts are network namespaces (``network``), so this needs root. The run folder and the images are on
a real S3 server that all hosts reach.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.storage.uri import open_store
from tests.chaos.kills import differences
from tests.chaos.network import Host
from tests.chaos.ray_hosts import RayHosts, ray_hosts
from tests.chaos.watch import Stall, Watch
from tests.launch.fixtures import CHECKPOINT_EVERY
from tests.launch.program import Program, environment, newest_step, pack_command, run, train_command
from tests.servers.prometheus import wait_for

SETTINGS = {
    # As in the fixtures: calls end at both, and moving statistics are averaged there.
    "checkpoints__every_steps": CHECKPOINT_EVERY,
    "samples__every_steps": 600,
    "checkpoints__keep": 1000,
    "workers__count": 2,
    "workers__max_restarts": 20,
    "data__cache_dir": "/tmp/cache",  # each host has its own
}
ELASTIC = {"workers__min": 1, "workers__max": 2, "workers__resize_seconds": 5}
# Five until Ray Train checks for drains, and twice what a just-in-time checkpoint needs.
DRAIN_SECONDS = 10.0


class Scene:
    """A run under way."""

    def __init__(self, hosts: RayHosts, command: list[str], run_folder: Path, folder: Path):
        self.hosts, self.run_folder = hosts, run_folder
        self._command, self._folder = command, folder
        self._num_submitted = 0
        self.fault_at = 0.0
        self.program: Program
        self.submit()

    @property
    def output(self) -> str:
        """Return the output of all submissions."""
        return "".join(
            path.read_text(errors="replace") for path in sorted(self._folder.glob("train-*.log"))
        )

    def submit(self) -> None:
        self._num_submitted += 1
        self.program = self.hosts.submit(
            self._command, self._folder / f"train-{self._num_submitted}.log"
        )

    def wait_until(self, condition: Callable[[], object], seconds: float = 240.0) -> None:
        """Ray that has ended on a host is started again meanwhile."""

        def holds() -> object:
            self.hosts.tend()
            return condition()

        self.program.wait_until(holds, seconds)

    def sleep(self, seconds: float) -> None:
        """Hosts are looked after, and the run may end meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.hosts.tend()
            time.sleep(min(0.5, left))

    def now(self) -> None:
        """The fault is now."""
        self.fault_at = time.monotonic()

    def host_of(self, watch: Watch, rank: int) -> Host:
        return self.hosts.host_at(
            wait_for(f"an address of worker {rank}", lambda: watch.address_of(rank))
        )

    def exit_code(self, seconds: float = 400.0) -> int:
        def has_ended() -> bool:
            self.hosts.tend()
            return self.program.has_ended

        wait_for("the end of the run", has_ended, seconds)
        return self.program.exit_code()

    def manifests(self) -> list[Manifest]:
        """Return all committed checkpoints in step order."""
        return Checkpoints(open_store(str(self.run_folder))).committed()[::-1]


class Incident(NamedTuple):
    """``cause`` does it, and waits for what has to happen before the run may end."""

    name: str
    cause: Callable[[Scene, Watch], None]
    is_elastic: bool = False


class Found(NamedTuple):
    """The effect of a fault: the stall, and the number of workers of each later attempt."""

    fault: Incident
    stall: Stall
    restarts: list[int]

    @property
    def happened(self) -> str:
        sizes = ", then ".join(str(size) for size in self.restarts)
        return f"the workers started again, {sizes} of them" if sizes else "the workers waited"


class Outcome(NamedTuple):
    """The end of a run. ``manifests`` are of all its checkpoints, in step order."""

    code: int
    found: list[Found]
    manifests: list[Manifest]
    run_folder: Path
    output: str


def lose_other(scene: Scene, watch: Watch) -> None:
    _lose(scene, scene.host_of(watch, 1))


def lose_chief(scene: Scene, watch: Watch) -> None:
    _lose(scene, scene.host_of(watch, 0))


def _lose(scene: Scene, host: Host) -> None:
    scene.now()
    scene.hosts.lose(host)
    scene.sleep(5.0)
    scene.hosts.start_host(host)


def kill_elastic(scene: Scene, watch: Watch) -> None:
    _shrink_and_grow(scene, watch, scene.hosts.kill)


def lose_elastic(scene: Scene, watch: Watch) -> None:
    _shrink_and_grow(scene, watch, scene.hosts.lose)


def _shrink_and_grow(scene: Scene, watch: Watch, end: Callable[[Host], None]) -> None:
    """The run continues on the other host; the first returns, and the run uses it again."""
    host = scene.host_of(watch, 1)
    scene.now()
    end(host)
    scene.wait_until(lambda: watch.world_sizes()[-1] == 1)
    scene.hosts.start_host(host)
    scene.wait_until(lambda: watch.world_sizes()[-1] == 2)


def cut(rank: int, seconds: float) -> Callable[[Scene, Watch], None]:
    def disturb(scene: Scene, watch: Watch) -> None:
        host = scene.host_of(watch, rank)
        scene.now()
        host.cut()
        scene.sleep(seconds)
        host.restore()

    return disturb


def drain(rank: int) -> Callable[[Scene, Watch], None]:
    def disturb(scene: Scene, watch: Watch) -> None:
        host = scene.host_of(watch, rank)
        scene.now()
        scene.hosts.drain(host)
        scene.wait_until(lambda: len(watch.world_sizes(scene.fault_at)) == 2)

    return disturb


def lose_head(scene: Scene, watch: Watch) -> None:
    """Nothing is left of the cluster then: Ray's other nodes end without their head."""
    scene.now()
    scene.hosts.lose(scene.hosts.head)
    scene.sleep(5.0)
    for host in scene.hosts.workers:
        scene.hosts.kill(host)
    scene.hosts.start()
    scene.submit()


FAULTS = [
    Incident("lose a worker's host; it is back after 5 s", lose_other),
    Incident("lose the chief's host; it is back after 5 s", lose_chief),
    Incident(
        "kill all on a worker's host, elastic; later it is back", kill_elastic, is_elastic=True
    ),
    Incident("lose a worker's host, elastic; later it is back", lose_elastic, is_elastic=True),
    Incident("cut a worker's link for 5 s", cut(1, 5)),
    Incident("cut a worker's link for 30 s", cut(1, 30)),
    Incident("cut a worker's link for 120 s", cut(1, 120)),
    Incident("cut the chief's link for 120 s", cut(0, 120)),
    Incident("cut a worker's link for 120 s, elastic", cut(1, 120), is_elastic=True),
    Incident("drain a worker's host (SIGTERM)", drain(1)),
    Incident("drain the chief's host (SIGTERM)", drain(0)),
    Incident("lose the head; the cluster is started and the run submitted again", lose_head),
]


def play(
    hosts: RayHosts,
    faults: list[Incident],
    data: Path,
    folder: Path,
    steps: int,
    show: Callable[[Found], object] = lambda found: None,
) -> Outcome:
    """Train ``steps`` on running hosts with these faults, each followed by a new checkpoint."""
    bucket = hosts.server.new_bucket("hosts")
    shutil.copytree(data, hosts.server.folder / bucket / "data")
    run_folder = hosts.server.folder / bucket / "run"
    folder.mkdir(parents=True, exist_ok=True)
    settings = SETTINGS | {"training__steps": steps} | (ELASTIC if faults[0].is_elastic else {})
    scene = Scene(
        hosts,
        train_command(f"s3://{bucket}/data", f"s3://{bucket}/run", **settings),
        run_folder,
        folder,
    )
    found: list[Found] = []
    with Watch(lambda: scene.output) as watch:
        scene.wait_until(lambda: newest_step(run_folder))
        for fault in faults:
            scene.wait_until(
                lambda: watch.step % CHECKPOINT_EVERY >= CHECKPOINT_EVERY / 2
            )  # so that there is something to lose
            num_starts = len(watch.world_sizes())
            fault.cause(scene, watch)
            step = max(
                newest_step(run_folder), watch.step
            )  # a save that was under way may still end
            scene.wait_until(lambda step=step: newest_step(run_folder) > step)  # type: ignore[misc]
            found.append(
                Found(fault, watch.stall(scene.fault_at), watch.world_sizes()[num_starts:])
            )
            show(found[-1])
        return Outcome(scene.exit_code(), found, scene.manifests(), run_folder, scene.output)


def play_without(data: Path, folder: Path, steps: int) -> Path:
    """The run folder of such a run without faults, on this machine alone."""
    settings = SETTINGS | {"training__steps": steps, "data__cache_dir": folder / "cache"}
    code, output = run(
        train_command(data, folder / "plain", **settings),
        folder / "plain.log",
        environment(folder),
        seconds=900,
    )
    assert code == 0, output
    return folder / "plain"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", help="beginnings of faults' names; all when there is none"
    )
    parser.add_argument(
        "--steps", type=int, default=600, help="steps of a run for each of its faults"
    )
    names, steps_each = (arguments := parser.parse_args()).names, arguments.steps
    chosen = [fault for fault in FAULTS if not names or fault.name.startswith(tuple(names))]
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # so that nothing stays behind
    say(
        "| fault | what happened | seconds without a step | steps lost |\n| --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory(
        prefix="dcgan-", dir="/tmp", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        pack = [*pack_command(512, folder / "data"), "--shard-bytes", "64KiB"]
        assert run(pack, folder / "pack.log", environment(folder))[0] == 0
        went_wrong = [_table(faults, folder, steps_each) for faults in groups(chosen)]
        sys.exit(any(went_wrong))


def groups(faults: list[Incident]) -> list[list[Incident]]:
    """Those of one run: with a fixed number of workers, and elastic."""
    return [
        group
        for is_elastic in (False, True)
        if (group := [fault for fault in faults if fault.is_elastic == is_elastic])
    ]


def _table(faults: list[Incident], folder: Path, steps_each: int) -> bool:
    """Print the lines of one run; whether something was not as it has to be."""
    kind = "elastic" if faults[0].is_elastic else "fixed"
    steps = (
        (len(faults) + 1) * steps_each * (3 if faults[0].is_elastic else 1)
    )  # a worker alone is fast, and the other has to come back
    with ray_hosts(folder / kind, drain_seconds=DRAIN_SECONDS) as hosts:
        hosts.start()
        outcome = play(
            hosts,
            faults,
            folder / "data",
            folder / f"{kind}-run",
            steps,
            lambda found: say(row(found)),
        )
        different = (
            outcome.code == 0
            and kind == "fixed"
            and differences(play_without(folder / "data", folder, steps), outcome.run_folder, steps)
        )
    end = (
        f"exit code {outcome.code}"
        if outcome.code
        else f"{len(different)} arrays differ"
        if different
        else "the same bits"
    )
    say(
        f"\nThe {kind} run of {steps} steps ended: "
        f"{'done' if kind == 'elastic' and not outcome.code else end}.\n"
    )
    return bool(outcome.code or different)


def row(found: Found) -> str:
    """Return a row of the table."""
    stall = f"{found.stall.seconds:.0f} | {found.stall.steps_lost}"
    return f"| {found.fault.name} | {found.happened} | {stall} |"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
