"""Measure the training step of 28x28 images against other libraries and against the machine.

    python -m bench.train_step --batch 32 --rounds 7
    python -m bench.train_step --only torch,ours

Every contender (bench/train_step_contenders.py) is a process, or two for two workers, that waits
until it is its turn. In each round each trains for about two seconds, alone. So a change of the
machine's speed affects all. Prints a table: images/s, lowest to highest, and the ratio to the
notebook's loop on Keras 2. PyTorch, JAX and Keras 2 are installed apart from the rest
(`make bench`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

from bench.machine import ROOT, described, free_port, other_python

PROGRAM = ROOT / "bench" / "train_step_contenders.py"
TURN_SECONDS = 2.0
PRODUCT_FLOP = 2 * 1024**3
# Of one real image in the notebook's step: D's forward and backward pass on it and on a generated
# one, and G's twice forward and once backward, D once more for it. Multiplications and additions
# of the layers only.
STEP_FLOP_PER_IMAGE = 2 * 125.5e6


class Contender(NamedTuple):
    """A row of the table; ``workers`` processes share the cores. Own: not in the other venv."""

    title: str
    name: str
    is_own: bool = False
    workers: int = 1
    is_group: bool = True
    """False: every process trains its share of the batch by itself and exchanges nothing."""


CONTENDERS = (
    Contender("the notebook's loop, Keras 2", "keras-loop:2"),
    Contender("the notebook's loop, Keras 3", "keras-loop:3"),
    Contender("TensorFlow's tutorial step", "tutorial"),
    Contender("PyTorch, eager, channels last", "torch:eager"),
    Contender('PyTorch, `torch.compile(mode="max-autotune")`', "torch:compile"),
    Contender("PyTorch, bfloat16", "torch:bfloat16"),
    Contender("JAX, `jit`", "jax"),
    Contender("`notebook`, one worker", "ours:notebook", True),
    Contender("`notebook`, two workers", "ours:notebook", True, 2),
    Contender("`fashion`, one worker", "ours:fashion", True),
    Contender("`fashion`, two workers", "ours:fashion", True, 2),
)
LIMIT = (
    Contender("matrix products, one process", "matrix-product", True),
    Contender("matrix products, two processes", "matrix-product", True, 2),
)


class Player:
    """The processes of a contender."""

    def __init__(self, contender: Contender, batch: int) -> None:
        cores = len(os.sched_getaffinity(0))
        workers, python = contender.workers, sys.executable if contender.is_own else other_python()
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(workers)]
        tasks = [(addresses, rank) for rank in range(workers)]
        if not contender.is_group:
            tasks, batch = [([address], 0) for address in addresses], batch // workers
        self._processes = []
        for group, rank in tasks:
            config = {"cluster": {"worker": group}, "task": {"type": "worker", "index": rank}}
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            if contender.name.startswith("ours"):
                env["TF_CONFIG"] = json.dumps(config)
            threads = str(max(1, cores // workers))
            self._processes.append(
                subprocess.Popen(
                    [python, str(PROGRAM), contender.name, str(batch), threads],
                    env=env,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
        for process in self._processes:
            assert process.stdout is not None
            # XLA and TensorFlow may print before it.
            while (line := process.stdout.readline()) != "ready\n":
                if not line:
                    raise SystemExit(f"{contender.title}: ended with {process.wait()}")
        self.steps = 10

    def seconds(self) -> float:
        """Train ``steps`` steps in all processes; return the seconds of the slowest."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{self.steps}\n")
            process.stdin.flush()
        return max(
            float(process.stdout.readline()) for process in self._processes if process.stdout
        )

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="global batch size")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="parts of their names, joined by commas")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    chosen = [each for each in CONTENDERS if any(part in each.name for part in parts)]
    rates = measure((*chosen, *LIMIT), arguments.batch, arguments.rounds)
    limits = [statistics.median(rates[each]) * each.workers * PRODUCT_FLOP / 1e9 for each in LIMIT]
    limit = max(limits) * 1e9 / STEP_FLOP_PER_IMAGE
    print(f"Global batch {arguments.batch}, {described()}. Matrix products of 1,024 x 1,024:")
    print(f"{limits[0]:.0f} GFLOP/s in one process, {limits[1]:.0f} in two; at that rate the")
    print(f"notebook's step would train {limit:.0f} images/s (the limit).\n")
    print("| contender | images/s | lowest to highest | ratio | of the limit |")
    print("| --- | --- | --- | --- | --- |")
    first = statistics.median(rates[chosen[0]])
    for contender in chosen:
        images = sorted(rate * arguments.batch for rate in rates[contender])
        median = statistics.median(images)
        of_limit = "" if "fashion" in contender.name else f"{median / limit:.2f}"
        print(
            f"| {contender.title} | {median:.0f} | {images[0]:.0f} to {images[-1]:.0f} |"
            f" {median / arguments.batch / first:.2f} | {of_limit} |"
        )


def measure(
    contenders: Iterable[Contender], batch: int, rounds: int
) -> dict[Contender, list[float]]:
    """Return the steps a second of each contender in each round, in which they take turns."""
    with ExitStack() as stack:
        players = []
        for contender in contenders:
            player = Player(contender, batch)
            stack.callback(player.close)
            unit = 10 if contender.name.startswith("ours") else 1  # ours: a call of 10 steps
            player.steps = max(1, round(TURN_SECONDS * 10 / player.seconds() / unit)) * unit
            players.append((contender, player))
        rates: dict[Contender, list[float]] = {each: [] for each, _ in players}
        for _ in range(rounds):
            for contender, player in players:
                rates[contender].append(player.steps / player.seconds())
    return rates


if __name__ == "__main__":
    main()
