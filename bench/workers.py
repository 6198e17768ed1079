"""Measure what the exchange between processes costs a training step, on one machine.

    python -m bench.workers --batch 64

For each number of processes three contenders take turns: one group, which exchanges its gradients
in every step, as many processes that train their shares of the batch by themselves, and one process
on all cores. Rates are images/s. The ratio of the first two is what the exchange leaves.
"""

import argparse
import statistics

from bench.machine import described
from bench.train_step import Contender, measure

PROCESSES = (2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="fashion")
    parser.add_argument("--batch", type=int, default=64, help="global batch size")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.batch % max(PROCESSES):
        parser.error(f"--batch is {arguments.batch}; expected a multiple of {max(PROCESSES)}")
    name = f"ours:{arguments.preset}"
    print(f"`{arguments.preset}`, global batch {arguments.batch}, {described()}.\n")
    print("| processes | one group | apart | one process | group / apart | group / one process |")
    print("| --- | --- | --- | --- | --- | --- |")
    for workers in PROCESSES:
        contenders = (
            Contender("group", name, True, workers),
            Contender("apart", name, True, workers, is_group=False),
            Contender("one process", name, True),
        )
        rates = measure(contenders, arguments.batch, arguments.rounds)
        images = [sorted(rate * arguments.batch for rate in rates[each]) for each in contenders]
        group, apart, one = map(statistics.median, images)
        cells = [
            f"{statistics.median(each):.0f} ({each[0]:.0f} to {each[-1]:.0f})" for each in images
        ]
        ratios = f"{group / apart:.2f} | {group / one:.2f}"
        print(f"| {workers} | {' | '.join(cells)} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
