"""Print where a training step's time goes, by kind of TensorFlow operation.

    python -m bench.profile_step notebook
    python -m bench.profile_step fashion:training.jit_compile=true --batch 64

One worker on all cores. TensorFlow's profiler records two calls of 10 steps after two without it.
An operation's time is that between its start and its end on its thread; operations that run at the
same time both count, so that the sum can exceed the time that passed.
"""

import argparse
import collections
import json
import os
import re
import tempfile
from pathlib import Path

import job  # noqa: F401  before TensorFlow: no settings of ~/.keras
from bench.machine import described, free_port

CALLS, STEPS = 2, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("variant", metavar="PRESET[:KEY=VALUE,...]")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--top", type=int, default=15, help="rows; the rest is one row")
    arguments = parser.parse_args()

    import tensorflow as tf

    from bench.train_step_contenders import ours

    worker = {"worker": [f"127.0.0.1:{free_port()}"]}
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": worker, "task": {"type": "worker", "index": 0}}
    )

    with tempfile.TemporaryDirectory() as folder:
        train = ours(arguments.variant, arguments.batch, len(os.sched_getaffinity(0)))
        train(2 * STEPS)
        with tf.profiler.experimental.Profile(folder):
            train(CALLS * STEPS)
        events = times_by_operation(next(Path(folder).rglob("*.xplane.pb")))
    rows = sorted(events.items(), key=lambda each: -each[1][1])
    total = sum(seconds for _, (_, seconds) in rows)
    print(f"`{arguments.variant}`, batch {arguments.batch}, {described()}; one step:\n")
    print("| operation | times | ms | share |")
    print("| --- | --- | --- | --- |")
    shown, rest = rows[: arguments.top], rows[arguments.top :]
    if rest:
        counts, times = zip(*(each for _, each in rest), strict=True)
        shown.append(("others", (sum(counts), sum(times))))
    for name, (count, seconds) in (*shown, ("all", (sum(c for _, (c, _) in rows), total))):
        steps = CALLS * STEPS
        print(
            f"| {name} | {count / steps:.1f} | {seconds / steps * 1000:.2f}"
            f" | {seconds / total:.3f} |"
        )


def times_by_operation(profile: Path) -> dict[str, tuple[int, float]]:
    """Return the number and the seconds of the operations of each kind in a profile."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(profile.read_bytes())
    found: dict[str, tuple[int, float]] = collections.defaultdict(lambda: (0, 0.0))
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # Others, as "ExecutorState::Process", are not operations, "name:Kind".
                name = plane.event_metadata[event.metadata_id].name
                if kind := re.fullmatch(r"[^:]+:(\w+)", name):
                    count, seconds = found[kind[1]]
                    found[kind[1]] = count + 1, seconds + event.duration_ps / 1e12
    return dict(found)


if __name__ == "__main__":
    main()
