"""Train variants with several seeds and score each at several numbers of images seen.

    dcgan-train data pack /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz packed
    dcgan-train quality fit packed
    python bench/experiments.py --data packed --images 600000 --every 60000 --seeds 0,1,2 \
        --work runs --results scores.jsonl notebook fashion fashion:training.ema_decay=0.999
    python bench/experiments.py --results scores.jsonl --table

A variant is a preset and, after a colon, ``--set`` values joined by commas. Each variant and seed
is one worker process without Ray, in a run folder below ``--work``, and leaves one JSON line for
each ``--every`` images. The same command again resumes: what is trained or scored is not done
again, so take another ``--work`` and ``--results`` after a preset changed.
``train_seconds`` is the time of the train calls alone, without checkpoints and without what tracing
adds to a process's first call.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import job  # noqa: F401  before TensorFlow: no settings of ~/.keras

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

GENERATED_SEED = 0  # of the latents: all points are scored with the same ones


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", metavar="PRESET[:KEY=VALUE,...]")
    parser.add_argument("--data", help="packed images to train on")
    parser.add_argument("--against", help="packed images to score against; default: --data")
    parser.add_argument("--features", default="classifier", help="as of dcgan-train evaluate")
    parser.add_argument("--images", type=int, default=600_000, help="seen in all")
    parser.add_argument("--every", type=int, default=60_000, help="images between two scores")
    parser.add_argument("--num", type=int, default=10_000, help="images scored, of each kind")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cpus", type=int, default=1, help="threads of the process")
    parser.add_argument("--work", type=Path, default=Path("experiments"), help="run folders")
    parser.add_argument("--results", type=Path, default=Path("experiments.jsonl"))
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the results as a table")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read_results(arguments.results), arguments.features))
    elif "TF_CONFIG" in os.environ:
        train(arguments)
        if not arguments.train_only:
            score_run(arguments)
    elif not arguments.variants or not arguments.data:
        parser.error("expected --data and at least one variant, or --table")
    else:
        sys.exit(max(run_all(arguments)))


def run_all(arguments: argparse.Namespace) -> Iterator[int]:
    """Run every seed of every variant in a new process; yield its exit code."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # kills it, too
    for seed in arguments.seeds.split(","):
        for variant in arguments.variants:
            print(f"{variant}, seed {seed}", file=sys.stderr, flush=True)
            with socket.socket() as server:
                server.bind(("127.0.0.1", 0))
                port = server.getsockname()[1]
            cluster = {"worker": [f"127.0.0.1:{port}"]}
            config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
            flags = ["--train-only"] if arguments.train_only else []
            values = ("data", "against", "features", "images", "every", "num", "cpus", "work")
            for name in (*values, "results"):
                if (value := getattr(arguments, name)) is not None:
                    flags += [f"--{name}", str(value)]
            command = [sys.executable, __file__, variant, "--seeds", seed, *flags]
            environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
            yield subprocess.run(command, env=environment).returncode


def spec_of(arguments: argparse.Namespace) -> Any:
    """Return the run of this process's variant and seed."""
    from job.config.load import load_run

    preset, _, values = arguments.variants[0].partition(":")
    overrides = re.split(r",(?=[a-z_0-9.]+=)", values) if values else []
    digest = hashlib.sha256(" ".join([arguments.data, *overrides]).encode()).hexdigest()[:8]
    fixed = [
        f"uri={arguments.work / f'{preset}-{digest}-seed{arguments.seeds}'}",
        f"data.uri={arguments.data}",
        f"seed={arguments.seeds}",
        "workers.count=1",
        f"workers.cpus={arguments.cpus}",
        "metrics.enabled=false",
        "quality.features=none",  # scored afterwards, with more images
    ]
    batch = load_run(preset, overrides=[*overrides, *fixed]).training.global_batch_size
    every = arguments.every // batch
    fixed += [
        f"training.steps={arguments.images // batch}",
        f"checkpoints.every_steps={every}",
        "checkpoints.keep=1000000",
        f"samples.every_steps={every}",
    ]
    return load_run(preset, overrides=[*overrides, *fixed])


def train(arguments: argparse.Namespace) -> None:
    """Train to the last step, from the newest checkpoint of the run folder."""
    from job.run.stores import open_stores
    from job.telemetry.step_report import StepReport
    from job.training.listeners import Driver
    from job.training.topology import Topology
    from job.training.worker import run

    spec = spec_of(arguments)
    Path(spec.uri).mkdir(parents=True, exist_ok=True)

    class Timer(Driver):
        """Writes step, number of steps and seconds of each train call but the process's first."""

        is_first = True

        def on_report(self, report: StepReport, num_steps: int) -> None:
            if num_steps and not self.is_first:
                print(report.step, num_steps, num_steps * report.step_seconds, file=calls)
            self.is_first = self.is_first and not num_steps

    with (Path(spec.uri) / "calls.txt").open("a", buffering=1) as calls:
        run(spec, open_stores(spec), Topology(0, 1), Timer())


def train_seconds(folder: Path, step: int) -> float | None:
    """Return the time to train ``step`` steps, by the mean of the calls up to there."""
    lines = [line.split() for line in (folder / "calls.txt").read_text().splitlines()]
    calls = {int(line[0]): (int(line[1]), float(line[2])) for line in lines}
    timed = [call for end, call in calls.items() if end <= step]
    num_steps = sum(call[0] for call in timed)
    return step * sum(call[1] for call in timed) / num_steps if num_steps else None


def score_run(arguments: argparse.Namespace) -> None:
    """Append a line to the results for each checkpoint that has none yet."""
    import numpy as np

    from job.checkpoints.checkpoints import Checkpoints
    from job.config.storage import StorageSpec
    from job.data.index import read_index
    from job.data.rows import read_rows
    from job.quality.features import open_features
    from job.quality.scores import Basis, score
    from job.storage.uri import open_store
    from job.synthesis.generated import load_images

    spec, storage = spec_of(arguments), StorageSpec()
    store = open_store(arguments.against or arguments.data)
    index, num = read_index(store), arguments.num
    features = open_features(arguments.features, store, index, storage)
    real = features.extract(read_rows(store, index, np.arange(num)).images)
    basis = Basis(features.name, features.fingerprint, index.fingerprint, num, num)
    done = {identity(result) for result in read_results(arguments.results)}
    batch = spec.training.global_batch_size
    manifests = [manifest for _, manifest in Checkpoints(open_store(spec.uri)).readable()]
    for step in sorted(manifest.step for manifest in manifests):
        result = {
            "variant": arguments.variants[0],
            "data": index_fingerprint(arguments.data),
            "seed": spec.seed,
            "images": step * batch,
            "basis": dataclasses.asdict(basis),
        }
        if identity(result) in done:
            continue
        uri = f"{spec.uri}/checkpoints/step-{step:09d}"
        images = load_images(uri, storage, index.image_shape, num, GENERATED_SEED).data.images
        result["train_seconds"] = train_seconds(Path(spec.uri), step)
        result |= dataclasses.asdict(score(real, features.extract(images)))
        with arguments.results.open("a") as results:
            results.write(json.dumps(result) + "\n")


def index_fingerprint(uri: str) -> str:
    from job.data.index import read_index
    from job.storage.uri import open_store

    return read_index(open_store(uri)).fingerprint


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an earlier run; none without a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def identity(result: dict[str, Any]) -> str:
    """Return what makes a result another one than the rest."""
    names = ("variant", "data", "seed", "images", "basis")
    return json.dumps([result[name] for name in names], sort_keys=True)


def table(results: list[dict[str, Any]], features: str) -> str:
    """Return the mean and the range over the seeds, by variant and images, as Markdown."""
    lines = [
        "| variant | images | seconds | seeds | Frechet distance | range | kernel x1000 |"
        " precision | recall |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in results:
        if result["basis"]["features"] == features:
            key = tuple(result[name] for name in ("variant", "images"))
            groups.setdefault(key, []).append(result)
    for (variant, images), group in groups.items():

        def mean(name: str, group: list[dict[str, Any]] = group) -> float:
            return statistics.mean(each[name] or 0.0 for each in group)

        distances = [each["frechet_distance"] for each in group]
        lines.append(
            f"| `{variant}` | {images:,} | {mean('train_seconds'):.0f} | {len(group)} |"
            f" {statistics.mean(distances):.2f} | {min(distances):.2f} to {max(distances):.2f} |"
            f" {1000 * mean('kernel_distance'):.2f} | {mean('precision'):.3f} |"
            f" {mean('recall'):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
