"""Measure `data pack` beside the writers of MosaicML Streaming and WebDataset, on the same JPEGs.

    python -m bench.pack CIFAR_TAR                      # the other libraries are installed once
    python -m bench.pack CIFAR_TAR --libraries VENV --rounds 7

`CIFAR_TAR` has `train/CLASS/NNNN.jpg` of 32x32. The first of each class are packed as 32x32, and
enlarged once to 256x256, JPEGs of quality 90, as 64x64. Every contender
(bench/pack_contenders.py) is a process that waits for its turn, so that a change of the machine's
speed affects all. Its first turn is not counted; what it wrote then is read back, and the pixels
of all images must be those of the others. The start of the program counts for the command alone.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from bench.machine import ROOT, described
from bench.streaming import libraries_python

CONTENDERS = {
    "ours": "`data pack`",
    "command": "`dcgan-train data pack`, the program's start included",
    "mosaicml:1": "MosaicML `MDSWriter`, raw pixels",
    "mosaicml:2": "the same, two processes and `merge_index`",
    "npy:1": "WebDataset `ShardWriter`, raw pixels (.npy)",
    "npy:2": "the same, two processes",
    "png:2": "WebDataset `ShardWriter`, PNG, two processes",
    "threads:2": "limit: only decoded and resized, two threads",
    "processes:2": "limit: only decoded and resized, two processes",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, metavar="CIFAR_TAR")
    parser.add_argument("--small", type=int, default=1000, help="32x32 images of each class")
    parser.add_argument("--large", type=int, default=300, help="256x256 images of each class")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="for --libraries")
    parser.add_argument(
        "--libraries", type=Path, help="an environment that has the other libraries; default: made"
    )
    arguments = parser.parse_args()
    if not arguments.images.is_file():
        raise SystemExit(f"{arguments.images}: no such file; expected a tar of CIFAR-10's JPEGs")
    python = str(libraries_python(arguments))
    print(described())
    with tempfile.TemporaryDirectory() as name:
        for images, num_per_class, enlarged, size in (
            (Path(name, "small"), arguments.small, None, 32),
            (Path(name, "large"), arguments.large, 256, 64),
        ):
            num = extract(arguments.images, images, num_per_class, enlarged)
            original = enlarged or size
            print(f"\n{num:,} JPEGs of {original}x{original} as {size}x{size}:\n")
            measure(python, images, size, Path(name, "out"), num, arguments.rounds)


def extract(archive: Path, folder: Path, num_per_class: int, enlarged: int | None) -> int:
    """Write the first JPEGs of each class of the training images; return their number."""
    num = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            part, *names = Path(member.name).parts
            if part != "train" or len(names) < 2 or int(Path(names[1]).stem) >= num_per_class:
                continue
            file = tar.extractfile(member)
            assert file is not None
            data, path = file.read(), folder.joinpath(*names)
            path.parent.mkdir(parents=True, exist_ok=True)
            if enlarged:
                Image.open(io.BytesIO(data)).resize((enlarged, enlarged)).save(path, quality=90)
            else:
                path.write_bytes(data)
            num += 1
    if not num:
        raise SystemExit(f"{archive}: no train/CLASS/NNNN.jpg in it; expected CIFAR-10's JPEGs")
    return num


def measure(python: str, source: Path, size: int, out: Path, num: int, rounds: int) -> None:
    """Pack ``num`` images of ``source`` with all contenders in turns; print a table."""
    times: dict[str, list[list[float]]] = {name: [] for name in CONTENDERS}
    with ExitStack() as stack:
        processes = {}
        for name in CONTENDERS:
            own = sys.executable if name in ("ours", "command") else python
            process = subprocess.Popen(
                [own, "-m", "bench.pack_contenders", name, str(source), str(size), str(out)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes[name] = process
        written = {name: turn(process, name, "check") for name, process in processes.items()}
        if any(found != written["ours"] for found in written.values()):
            raise SystemExit(f"not the same images: {written}")
        for _ in range(rounds):
            for name, process in processes.items():
                times[name].append([float(part) for part in turn(process, name, "go")])
    print("| what | images/s | lowest to highest | ratio to ours | processor s per 1,000 images |")
    print("| --- | --- | --- | --- | --- |")
    ours = statistics.median(seconds for seconds, _ in times["ours"])
    for name, found in times.items():
        seconds, busy = (statistics.median(column) for column in zip(*found, strict=True))
        rates = sorted(num / seconds for seconds, _ in found)
        row = f"{num / seconds:,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} | {ours / seconds:.2f}"
        print(f"| {CONTENDERS[name]} | {row} | {1000 * busy / num:.2f} |", flush=True)


def turn(process: subprocess.Popen[str], name: str, order: str) -> list[str]:
    """Run a contender once; return its seconds and processor seconds, or a hash of its images."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(order, file=process.stdin, flush=True)
    while not (line := process.stdout.readline()).startswith("result "):
        if not line:
            raise SystemExit(f"{CONTENDERS[name]}: ended with {process.wait()}")
    return line.split()[1:]


if __name__ == "__main__":
    main()
