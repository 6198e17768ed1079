"""Measure what the exchange between processes costs a training step, on one machine.

    python -m bench.workers --batch 64

For each number of processes two contenders take turns: one group, which exchanges its gradients in
every step, and as many processes that train their shares of the batch by themselves. The ratio of
their rates is what the exchange leaves.
"""

import argparse
import statistics

from bench.machine import described
from bench.train_step import Contender, measure

PROCESSES = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="fashion")
    parser.add_argument("--batch", type=int, default=64, help="global batch size")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    name = f"ours:{arguments.preset}"
    groups = [Contender(f"group of {each}", name, True, each) for each in PROCESSES]
    apart = [Contender(f"{each} apart", name, True, each, is_group=False) for each in PROCESSES[1:]]
    rates = measure((*groups, *apart), arguments.batch, arguments.rounds)
    images = {
        (each.workers, each.is_group): sorted(rate * arguments.batch for rate in found)
        for each, found in rates.items()
    }
    print(f"`{arguments.preset}`, global batch {arguments.batch}, {described()}.\n")
    print("| processes | one group, images/s | apart, images/s | group to apart | to one process |")
    print("| --- | --- | --- | --- | --- |")
    one = statistics.median(images[1, True])
    for workers in PROCESSES:
        group, others = images[workers, True], images.get((workers, False))
        ratio = f"{statistics.median(group) / statistics.median(others):.2f}" if others else ""
        print(
            f"| {workers} | {ranged(group)} | {ranged(others) if others else ''} | {ratio} |"
            f" {statistics.median(group) / one:.2f} |"
        )


def ranged(ordered: list[float]) -> str:
    return f"{statistics.median(ordered):.0f} ({ordered[0]:.0f} to {ordered[-1]:.0f})"


if __name__ == "__main__":
    main()
