"""Measure the seconds to the first step, from a worker's death to the next, and of a checkpoint.

    python -m bench.recovery --kills 5
    python -m bench.recovery --only start --rounds 3
    python -m bench.recovery --only stall --rounds 20

`start`: two workers begin to train under a local Ray; the parts are those below, and before them
the time until the chief's process starts.

`recovery`: two workers train under Ray, and the second gets SIGKILL each time. The time until the
chief's next step is split at the start of its process (from /proc) and at times in its log: its
function was entered, TensorFlow and our modules were loaded, the checkpoint was restored, the
first call of K steps was done.

`stall`: steps/s of 50 steps with a checkpoint and of 50 without, in turns.
"""

import argparse
import datetime
import itertools
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.chaos.kills import worker_pid
from tests.launch.program import (
    Program,
    environment,
    newest_step,
    pack_command,
    run,
    started,
    train_command,
)

DETECTED, BEGUN = "detection and new process", "command, Ray and new process"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", choices=("start", "recovery", "stall"), action="append")
    parser.add_argument("--preset", default="fashion")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="recovery: a variable of the program's environment",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(
        prefix="dcgan-", dir="/tmp", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        code, output = run(
            pack_command(2048, folder / "data"), folder / "pack.log", environment(folder)
        )
        assert code == 0, output
        for section in arguments.only or ("start", "recovery", "stall"):
            {"start": start, "recovery": recovery, "stall": stall}[section](arguments, folder)


def command(
    arguments: argparse.Namespace, folder: Path, run_folder: Path, **settings: object
) -> list[str]:
    """Return a ``train`` command with the preset's networks and batch, not the small ones."""
    _, *options = train_command(folder / "data", run_folder, **settings)
    values = [
        value
        for value in options[1::2]
        if not value.startswith(("model.", "training.global_batch_size"))
    ] + arguments.settings
    return [
        "train",
        "--preset",
        arguments.preset,
        *(part for value in values for part in ("--set", value)),
    ]


def recovery(arguments: argparse.Namespace, folder: Path) -> None:
    run_folder = folder / "recovery"
    settings = {
        "training__steps": 10**6,
        "checkpoints__every_steps": 20,
        "samples__every_steps": 10**6,
        "workers__max_restarts": 100,
    }
    found: list[dict[str, float]] = []
    env = environment(folder, **dict(pair.split("=", 1) for pair in arguments.env))
    with started(
        command(arguments, folder, run_folder, **settings), folder / "recovery.log", env
    ) as program:
        for _ in range(arguments.kills):
            before = program.wait_for_checkpoint(
                run_folder, after=newest_step(run_folder), seconds=300
            )
            program.wait_for_checkpoint(run_folder, after=before, seconds=300)
            pid = worker_pid(program, 1)
            assert pid is not None
            killed_at = time.time()
            os.kill(pid, signal.SIGKILL)
            found.append(split(folder, program, killed_at))
            print(f"# {found[-1]}", file=sys.stderr)
        program.send(signal.SIGTERM)
        program.exit_code(120)
    print(f"SIGKILL of a worker, `{arguments.preset}`, two workers, median of {len(found)}.\n")
    print_parts(found)


def start(arguments: argparse.Namespace, folder: Path) -> None:
    found: list[dict[str, float]] = []
    for number in range(arguments.rounds if arguments.only else 3):
        env = environment(folder / f"ray-{number}", **dict(p.split("=", 1) for p in arguments.env))
        begun_at = time.time()
        options = command(arguments, folder, folder / f"start-{number}", training__steps=10**6)
        with started(options, folder / f"start-{number}.log", env) as program:
            found.append(split(folder / f"ray-{number}", program, begun_at, BEGUN))
            print(f"# {found[-1]}", file=sys.stderr)
            program.send(signal.SIGTERM)
            program.exit_code(120)
    print(f"`{arguments.preset}`, two workers, median of {len(found)}.\n")
    print_parts(found)


def print_parts(found: list[dict[str, float]]) -> None:
    """Print a table of the medians of each part."""
    print("| part | seconds | min | max |\n| --- | --- | --- | --- |")
    for part in found[0]:
        seconds = [each[part] for each in found]
        print(
            f"| {part} | {statistics.median(seconds):.1f} | {min(seconds):.1f} |"
            f" {max(seconds):.1f} |"
        )


def split(folder: Path, program: Program, since: float, first: str = DETECTED) -> dict[str, float]:
    """Wait until the chief has trained its first call after ``since``; the seconds of each part."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        events = [event for event in chief_events(folder) if event["at"] > since]
        done = next((event for event in events if event["event"] == "first call done"), None)
        if done:
            begin = next(event for event in events if event["event"] == "worker started")
            restored = [event["at"] for event in events if event["event"] == "resumed"]
            ends = {
                first: process_start(begin["fields"]["pid"]),
                "Ray loaded": begin["fields"]["begun"],
                "TensorFlow and our modules loaded": begin["at"],
                **({"networks and restore": restored[0]} if restored else {}),
                "compile and first call" if restored else "networks, compile and first call": (
                    done["at"]
                ),
            }
            starts = [since, *ends.values()]
            parts = {
                part: end - start for (part, end), start in zip(ends.items(), starts, strict=False)
            }
            return {**parts, "all": done["at"] - since}
        time.sleep(0.2)
    raise SystemExit(f"no step within 200 s:\n{program.output[-3000:]}")


def chief_events(folder: Path) -> list[dict[str, Any]]:
    """Return the log events of rank 0, of all its processes, in order of time."""
    found = []
    for path in (folder / "ray").glob("session_2*/logs/worker-*.err"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith('{"time"'):
                event = json.loads(line)
                event["at"] = datetime.datetime.fromisoformat(event["time"]).timestamp()
                if event.get("rank") == 0:
                    found.append(event)
    return sorted(found, key=lambda event: event["at"])


def process_start(pid: int) -> float:
    """Return the start time of a process, in seconds since the epoch: proc(5)."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    booted = float(re.search(r"btime (\d+)", Path("/proc/stat").read_text())[1])
    uptime_based = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    return (uptime_based if abs(uptime_based - booted) < 2 else booted) + ticks / os.sysconf(
        "SC_CLK_TCK"
    )


def stall(arguments: argparse.Namespace, folder: Path) -> None:
    """Compare the 50 steps that begin with a checkpoint with the 50 that follow, in one run.

    Whole runs with and without checkpoints differ by a fifth for other reasons. Each save must end
    within its 50 steps, which is asserted.
    """
    half, run_folder = 50, folder / "stall"
    settings = {
        "training__steps": 2 * half * (arguments.rounds + 1) + half,
        "checkpoints__every_steps": 2 * half,
        "samples__every_steps": 10**6,
        "training__steps_per_call": 10,
    }
    with started(
        command(arguments, folder, run_folder, **settings),
        folder / "stall.log",
        environment(folder),
    ) as program:
        url = program.wait_for_text(r"metrics of worker 0: (http://\S+)")[1]
        scrapes = [
            wait_for_steps(program, url, step)
            for step in range(2 * half, settings["training__steps"], half)
        ]
        assert program.exit_code(300) == 0, program.output
    seconds = [after["at"] - before["at"] for before, after in itertools.pairwise(scrapes)]
    saving, plain = seconds[::2], seconds[1::2]
    saved = scrapes[1::2]  # at the end of the 50 steps with the save
    for scrape in saved:
        assert scrape["committed"] == scrape["step"] - half, (
            f"the save before step {scrape['step']:.0f} took longer than its {half} steps"
        )
    held = [
        (b["held_seconds"] - a["held_seconds"]) / (b["held_count"] - a["held_count"])
        for a, b in itertools.pairwise(saved)
    ]
    print(
        f"\n### A checkpoint every {half} steps, {arguments.preset}, two workers,"
        f" {len(plain)} pairs of {half} steps of one run\n"
    )
    print("| measure | median | min | max |\n| --- | --- | --- | --- |")
    for name, values in (
        ("steps/s with a checkpoint", [half / each for each in saving]),
        ("steps/s without", [half / each for each in plain]),
        ("ratio", [b / a for a, b in zip(saving, plain, strict=True)]),
        ("time the training thread is held, ms", [1000 * each for each in held]),
        ("time of one step, ms", [1000 * each / half for each in plain]),
    ):
        print(
            f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |"
        )
    print(f"\nOf all together: {sum(plain) / sum(saving):.3f}")


def wait_for_steps(program: Program, url: str, step: int) -> dict[str, float]:
    """Return the first scrape at or after ``step``."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        program.wait_until(lambda: True)
        try:
            with opener.open(url, timeout=10) as answer:
                text, at = answer.read().decode(), time.monotonic()
        except urllib.error.URLError as error:
            raise SystemExit(
                f"{url}: {error}; the run's output:\n{program.output[-5000:]}"
            ) from error
        numbers = {
            name: float(value)
            for name, value in re.findall(r"^(\w+)\{[^}]*\} (\S+)$", text, re.MULTILINE)
        }
        if numbers.get("dcgan_step", 0) >= step:
            return {
                "at": at,
                "step": numbers["dcgan_step"],
                "held_seconds": numbers["dcgan_checkpoint_held_seconds_sum"],
                "held_count": numbers["dcgan_checkpoint_held_seconds_count"],
                "committed": numbers["dcgan_checkpoint_last_step"],
            }
        time.sleep(0.05)


if __name__ == "__main__":
    main()
