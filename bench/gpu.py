"""Measure the training step on one GPU: number types, XLA, steps per call, and batch sizes.

    python -m bench.gpu              # prints tables for docs/performance.md
    python -m bench.gpu --gpus 0     # on the CPU: tries the benchmark itself, and compares

The notebook trained 56.6 steps of 32 images a second on Colab's GPU, and its 10 epochs of 60,000
images took 331 s.
"""

import argparse
import shutil
import subprocess
import sys

NOTEBOOK_IMAGES = 600_000
XLA, BFLOAT16 = "training.jit_compile=true", "training.precision=bfloat16"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="steps per call")
    parser.add_argument(
        "--batches", default="32,128,512,2048,8192", help="the largest says what the GPU can do"
    )
    parser.add_argument("presets", nargs="*", default=["notebook", "fashion"])
    arguments = parser.parse_args()
    if arguments.gpus:
        describe_gpus()
    for preset in arguments.presets:
        options = [preset, *(f"{preset}:{each}" for each in (XLA, BFLOAT16, f"{XLA},{BFLOAT16}"))]
        speed, name = measure(arguments, options, 32, arguments.steps)
        seconds = NOTEBOOK_IMAGES / speed
        print(f"\n{NOTEBOOK_IMAGES:,} images: {seconds:.0f} s with {name}\n", flush=True)
        measure(arguments, options[:1], 32, arguments.steps, "--no-tf32")
        for steps_per_call in {1, 20} - {arguments.steps}:
            measure(arguments, options[:1], 32, steps_per_call)
        for batch in map(int, arguments.batches.split(",")):
            if batch != 32:
                measure(arguments, options, batch, max(1, arguments.steps * 32 // batch))


def describe_gpus() -> None:
    """Print the GPUs and their driver; ``SystemExit`` without NVIDIA's program."""
    if shutil.which("nvidia-smi") is None:
        raise SystemExit("nvidia-smi: not found; expected NVIDIA's driver, or --gpus 0")
    query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm"
    subprocess.run(["nvidia-smi", query, "--format=csv"], check=True)


def measure(
    arguments: argparse.Namespace, variants: list[str], batch: int, steps: int, *flags: str
) -> tuple[float, str]:
    """Print the table of ``bench.step``; return images/s and name of the fastest variant."""
    values = {
        "gpus": arguments.gpus,
        "rounds": arguments.rounds,
        "steps": steps,
        "batch": batch,
    }
    numbers = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "bench.step", *numbers, *flags, *variants]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {result.returncode}; its error is above")
    print(result.stdout, flush=True)
    rows = [line.split("|") for line in result.stdout.splitlines() if line.startswith("| `")]
    return max((float(row[2]), row[1].strip()) for row in rows)


if __name__ == "__main__":
    main()
