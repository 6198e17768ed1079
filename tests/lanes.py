"""All tests, in two runs of pytest side by side: on two cores each leaves half of one idle, because most of what trains waits for other processes.

    python -m tests.lanes -q --durations=10        options of pytest, for both

The output of the second lane comes after that of the first. Ends with a line that counts both. With ``-m`` there is one lane: those that it names.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter

LANES = ("cluster or training", "not (cluster or training)")  # from the longer one to the shorter
NO_TESTS = 5  # pytest's exit code


def main() -> int:
    options = sys.argv[1:]
    if "-m" in options:
        return subprocess.call(_pytest(*options))
    first, second = (_pytest("-m", lane, *options) for lane in LANES)
    with tempfile.TemporaryFile() as told, subprocess.Popen(second, stdout=told, stderr=subprocess.STDOUT) as beside:
        output, code = _shown(first)
        codes = {code, beside.wait()}
        told.seek(0)
        text = told.read().decode(errors="replace")
    sys.stdout.write(text)
    counts = _counts(output) + _counts(text)
    sys.stdout.write(f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed, {counts['skipped']} skipped\n")
    return next((code for code in codes if code not in (0, NO_TESTS)), min(codes))


def _pytest(*options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *options]


def _shown(command: list[str]) -> tuple[str, int]:
    """What it prints, as it comes and at its end, and its exit code."""
    shown = bytearray()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        while chunk := process.stdout.read1():
            shown += chunk
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    return shown.decode(errors="replace"), process.returncode


def _counts(output: str) -> Counter[str]:
    """Of pytest's closing line."""
    closing = re.findall(r"^(?:=+ )?\d+ \w+.* in [\d.]+s", output, re.MULTILINE)
    found = re.findall(r"(\d+) (passed|failed|error|skipped)", closing[-1]) if closing else []
    return Counter({what: int(number) for number, what in found})


if __name__ == "__main__":
    sys.exit(main())
