"""The long run of the fuzz tests: speed, memory, and that only the right error was raised.

    python -m tests.fuzz --inputs 100000 manifest index part

An input that raises another is written to ``fuzz-TARGET-NUMBER.bin``, and the exit code is 1.
"""

import argparse
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.targets import TARGETS, Target


class Found(NamedTuple):
    """The growth is that of the process's peak memory; ``slowest_seconds`` is that of one input."""

    num_accepted: int
    num_refused: int
    seconds: float
    slowest_seconds: float
    max_rss_growth_bytes: int


def fuzz(
    target: Target,
    num_inputs: int,
    seed: int,
    on_find: Callable[[int, bytes], None] = lambda number, data: None,
) -> Found:
    """Break ``target`` ``num_inputs`` times; an exception that is not its refusal is raised.

    ``on_find`` gets the number and the data of that input first.
    """
    random, accepted, slowest = Random(seed), 0, 0.0
    before, started = _peak_bytes(), time.perf_counter()
    for number in range(num_inputs):
        data = target.make(random)
        since = time.perf_counter()
        try:
            accepted += target.accepts(data)
        except Exception:
            on_find(number, data)
            raise
        slowest = max(slowest, time.perf_counter() - since)
    return Found(
        accepted,
        num_inputs - accepted,
        time.perf_counter() - started,
        slowest,
        _peak_bytes() - before,
    )


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz the parsers of what lies in a store."
    )
    parser.add_argument(
        "targets",
        nargs="*",
        default=sorted(TARGETS),
        metavar="TARGET",
        help=f"some of {', '.join(sorted(TARGETS))}",
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(
            f"{', '.join(sorted(unknown))}: unknown; expected some of {', '.join(sorted(TARGETS))}"
        )
    for name in options.targets:
        try:
            found = fuzz(
                TARGETS[name],
                options.inputs,
                options.seed,
                lambda number, data, name=name: _keep(name, number, data),
            )  # type: ignore[misc]
        except Exception:  # the edge of the process
            traceback.print_exc()
            return 1
        sys.stdout.write(
            f"{name}: {options.inputs:,} inputs in {found.seconds:.1f} s"
            f" ({options.inputs / found.seconds:,.0f}/s),"
            f" {found.num_accepted:,} taken, {found.num_refused:,} refused by"
            f" {TARGETS[name].refusal.__name__}, nothing else;"
            f" slowest {found.slowest_seconds * 1000:.1f} ms,"
            f" peak memory grew by {found.max_rss_growth_bytes / 2**20:.1f} MiB\n"
        )
    return 0


def _keep(name: str, number: int, data: bytes) -> None:
    path = Path(f"fuzz-{name}-{number}.bin")
    path.write_bytes(data)
    sys.stderr.write(f"input {number} of {name} is kept in {path}\n")


if __name__ == "__main__":
    sys.exit(main())
