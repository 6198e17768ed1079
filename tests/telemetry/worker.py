"""A process that serves metrics as a worker does: ``python -m tests.telemetry.worker PORT``.

Prints its port. Each line of its input is a report of 20 more steps, and the outcome of a
checkpoint if it has one.
"""

import sys

from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.server import MetricsServer
from job.telemetry.stream_metrics import StreamMetrics
from tests.telemetry.step_reports import report


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    metrics = WorkerMetrics("garments", rank=1, save_reasons=("timeout", "refused"))
    metrics.world(2, target_size=4, restarts=1)
    metrics.hung(1)
    metrics.checkpoints.every(500)
    metrics.data_diversity(0.2)
    metrics.goodput(0.9)
    metrics.scored(
        {
            "frechet_distance": 12.5,
            "best_frechet_distance": 11.5,
            "kernel_distance": 0.5,
            "kernel_error": 0.25,
            "precision": 0.75,
            "recall": 0.7,
            "density": 1.1,
            "coverage": 0.9,
        }
    )
    metrics.enter("start")
    metrics.build_info("0.1.0", "fashion", "sha256:1f")
    streaming = StreamMetrics("garments", 1, metrics.registry, RETRIES)
    with MetricsServer(metrics.registry, int(sys.argv[1]), host="127.0.0.1") as server:
        say(server.port)
        for number, line in enumerate(sys.stdin, start=1):
            step = 20 * number
            metrics.enter("train")
            metrics.observe(report(step=step, images=32 * step, restarts=1), num_steps=20)
            if line.strip() in ("committed", "failed"):
                stages = {"pack": 0.5, "upload": 2.0, "commit": 0.25}
                metrics.checkpoints.ended(
                    step, 3.0, line.strip(), 5000, stages=stages, reason="timeout"
                )
            if line.strip() == "committed":
                metrics.checkpoints.held(0.02)
                metrics.not_finite()
                metrics.rolled_back()
                metrics.preempted("node")
                metrics.sampled(0.15)
            streaming.requested()
            streaming.received(1000)
            streaming.retried("throttled")
            streaming.fetched(0.25)
            streaming.found()
            streaming.cache_holds(5000 * number)
            streaming.ahead(40)


if __name__ == "__main__":
    main()
