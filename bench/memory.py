"""Measure the peak memory of a run with one worker, beside doctor's estimate.

    python -m bench.memory
    python -m bench.memory --case dcgan64:32

Each run trains a few steps of synthetic images under its own Ray and saves a checkpoint. A process'
peak is Linux' VmHWM. The run's is the largest sum of its processes at one time (PSS, which counts
a shared page once); the page cache of the shards is not in it. Memory does not depend on how busy
the machine is.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from job.config.load import load_run
from job.launch.estimate import memory_bytes
from tests.launch.program import environment, run, started

CASES = ("notebook:32", "fashion:32", "dcgan64:64", "dcgan64:128")
STEPS = 2
NUM_IMAGES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", metavar="PRESET:BATCH", help=", ".join(CASES))
    print("| preset, batch | worker, estimate | worker, measured | all processes |")
    print("| --- | --- | --- | --- |")
    for case in parser.parse_args().case or CASES:
        preset, batch = case.split(":")
        with tempfile.TemporaryDirectory(prefix="dcgan-memory-") as folder:
            estimate, worker, together = measure(preset, int(batch), Path(folder))
        sizes = " | ".join(f"{size / 1e9:.2f} GB" for size in (estimate, worker, together))
        print(f"| `{preset}`, {batch} | {sizes} |", flush=True)


def measure(preset: str, batch: int, folder: Path) -> tuple[int, int, int]:
    """Return the estimate of a worker, its peak, and the peak of all processes, in bytes."""
    settings = [
        f"uri={folder / 'run'}",
        f"data.uri={folder / 'packed'}",
        f"training.global_batch_size={batch}",
        f"training.steps={STEPS}",
        "training.steps_per_call=1",
        "workers.count=1",
        "metrics.enabled=false",
    ]
    spec = load_run(preset, overrides=settings)
    height, width = spec.model.image_size
    size = ["--size", f"{height}x{width}", "--channels", str(spec.model.channels)]
    env, packed = environment(folder), str(folder / "packed")
    run(["data", "pack", f"synthetic:garments:{NUM_IMAGES}", packed, *size], folder / "log", env)
    train = [word for setting in settings for word in ("--set", setting)]
    worker = together = 0
    with started(["train", "--preset", preset, *train], folder / "log", env) as program:
        while not program.has_ended:
            processes = [psutil.Process(program.pid)]
            processes += processes[0].children(recursive=True)
            together = max(together, sum(_pss(each) for each in processes))
            worker = max([worker, *map(_worker_peak, processes)])
            time.sleep(0.5)
        if program.exit_code():
            raise SystemExit(program.output)
    return memory_bytes(spec)[0], worker, together


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended
        return 0


def _worker_peak(process: psutil.Process) -> int:
    """Return the peak of a worker of Ray Train; 0 for another process."""
    try:
        if "TrainWorker" not in " ".join(process.cmdline()):
            return 0
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (OSError, psutil.Error):
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
