"""The peak memory of a program, run in another process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def peak_bytes() -> int:
    """Return the peak memory of this process.

    Not ru_maxrss: it is at least the memory of the process this one was forked from, and the tests
    may have loaded TensorFlow there.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def number_printed_by(program: str, *arguments: object) -> int:
    """Run ``program`` in another process and return the number that it prints."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return int(result.stdout)
