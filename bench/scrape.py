"""Measure the cost of metrics: images per second without them, with them, and scraped each second.

    python bench/scrape.py
    python bench/scrape.py --preset notebook --batch 32 --rounds 9 --seconds 10

All three variants train the same networks on the same images in one process. Their rounds take
turns, so that a change of the machine's speed affects all. A separate process scrapes over HTTP; it
uses the same cores, which Prometheus would not. Prints the median of the rounds with the ratio to
the first variant, and the time of one report and of one scrape.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import job  # noqa: F401  before TensorFlow: no settings of ~/.keras

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

VARIANTS = ("no instruments", "instruments", "instruments, a scrape each second")
SCRAPE = """
import sys, time, urllib.request
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print("ready", flush=True)
while True:
    time.sleep(1)
    http.open(sys.argv[1], timeout=10).read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="fashion")
    parser.add_argument("--batch", type=int, default=64, help="global batch size")
    parser.add_argument("--steps", type=int, default=20, help="steps per call")
    parser.add_argument("--rounds", type=int, default=7, help="of each variant")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a round")
    measure(parser.parse_args())


def measure(arguments: argparse.Namespace) -> None:
    """Build the networks once, then time and print the rounds."""
    import numpy as np
    import tensorflow as tf

    from job.config.load import load_run
    from job.gan.networks import build_networks
    from job.gan.step import METRICS
    from job.streaming.events import RETRIES
    from job.telemetry.metrics import WorkerMetrics
    from job.telemetry.server import MetricsServer
    from job.telemetry.step_report import StepReport
    from job.telemetry.stream_metrics import StreamMetrics
    from job.training.multi_step import build_train_call
    from job.training.strategy import create_strategy

    batch, steps = arguments.batch, arguments.steps
    shared = [
        "uri=a",
        "data.uri=b",
        "workers.count=1",
        f"workers.cpus={os.cpu_count()}",
        f"training.global_batch_size={batch}",
    ]
    spec = load_run(arguments.preset, overrides=shared)
    strategy = create_strategy(spec)
    with strategy.scope():
        networks = build_networks(spec)
    call = build_train_call(spec, strategy, networks)
    shape = (1, steps, batch, *spec.model.image_size, spec.model.channels)
    chunk = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    metrics = WorkerMetrics("bench", 0)
    StreamMetrics("bench", 0, metrics.registry, RETRIES)
    report_seconds: list[float] = []
    done = 0

    def train(*, instruments: bool) -> None:
        nonlocal done
        started = time.perf_counter()
        values = call(chunk, tf.constant(done, tf.int64))[0].numpy().mean(axis=0).tolist()
        done += steps
        if not instruments:
            return
        ended = time.perf_counter()
        each = (ended - started) / steps
        progress = StepReport(
            step=done,
            total_steps=10**6,
            epoch=done / 1000,
            images=done * batch,
            images_per_second=batch / each,
            **dict(zip(METRICS, values, strict=True)),
            step_seconds=each,
            data_wait_seconds=0.0,
            compute_seconds=each,
        )
        metrics.observe(progress, steps)
        metrics.enter("train")
        report_seconds.append(time.perf_counter() - ended)

    rates: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    train(instruments=True)  # tracing
    with MetricsServer(metrics.registry, 0, host="127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        for number in range(arguments.rounds):
            for turn in range(len(VARIANTS)):
                variant = VARIANTS[(number + turn) % len(VARIANTS)]  # none is always first
                scraper = start_scraper(url) if variant is VARIANTS[2] else None
                try:
                    rates[variant].append(
                        batch
                        * steps
                        * per_second(
                            lambda v=variant: train(instruments=v is not VARIANTS[0]),
                            arguments.seconds,
                        )
                    )
                finally:
                    if scraper:
                        assert scraper.poll() is None, "the scraper ended"
                        scraper.kill()
                        scraper.wait()
        scrape_seconds = statistics.median(timed(lambda: fetch(url)) for _ in range(50))
    processor = platform.processor() or platform.machine()
    print(
        f"{arguments.preset}, batch {batch}, {steps} steps per call,"
        f" {os.cpu_count()} cores, {processor}"
    )
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s each")
    print(
        "| variant | images/s | min | max | ratio to the first |\n| --- | --- | --- | --- | --- |"
    )
    first = statistics.median(rates[VARIANTS[0]])
    for variant, found in rates.items():
        median = statistics.median(found)
        print(
            f"| {variant} | {median:.1f} | {min(found):.1f} | {max(found):.1f} |"
            f" {median / first:.4f} |"
        )
    call_seconds = batch * steps / first
    report = statistics.median(report_seconds)
    print(
        f"a report of {steps} steps takes {report * 1e6:.0f} us, {report / call_seconds:.4%} of the"
        f" call; a scrape {scrape_seconds * 1e3:.1f} ms"
    )


def start_scraper(url: str) -> subprocess.Popen[str]:
    """Start a process that scrapes each second, and return when it is ready."""
    scraper = subprocess.Popen(
        [sys.executable, "-c", SCRAPE, url], stdout=subprocess.PIPE, text=True
    )
    assert scraper.stdout
    assert scraper.stdout.readline() == "ready\n"
    return scraper


def per_second(work: Callable[[], None], seconds: float) -> float:
    """Return the calls of ``work`` per second, measured over at least ``seconds``."""
    started, number = time.perf_counter(), 0
    while time.perf_counter() - started < seconds or not number:
        work()
        number += 1
    return number / (time.perf_counter() - started)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fetch(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        url, timeout=10
    ) as answer:
        return bytes(answer.read())


if __name__ == "__main__":
    main()
