"""The machine as a text, free ports and the Python of other libraries, for benchmarks."""

import os
import platform
import re
import socket
from pathlib import Path

ROOT = Path(__file__).parents[1]
OTHER_PYTHON = ROOT / ".tools" / "contenders" / "bin" / "python"


def described() -> str:
    """Return processor and cores: ``2 cores of an AMD EPYC (AVX2)``."""
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    name = re.search(r"model name\s*: (.*)", info)
    flags = re.search(r"flags\s*: (.*)", info)
    found = set(flags[1].split()) if flags else set()
    widest = next((each for each in ("avx512f", "avx2", "avx") if each in found), "no AVX")
    return (
        f"{len(os.sched_getaffinity(0))} cores of {name[1] if name else platform.machine()}"
        f" ({widest})"
    )


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def other_python() -> str:
    """Return the Python with the libraries to compare with; exit if it is not installed."""
    if not OTHER_PYTHON.exists():
        raise SystemExit(f"{OTHER_PYTHON}: not found; `make bench` installs it (8 GB)")
    return str(OTHER_PYTHON)
