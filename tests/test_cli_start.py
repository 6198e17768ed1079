"""The program answers at once: loading its commands loads no framework.

Each check starts a fresh interpreter: here pytest has already loaded half of the libraries.
"""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("tensorflow", "keras", "ray", "boto3", "botocore", "scipy", "PIL", "pandas", "pyarrow"),
    "pydantic",
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def loaded_by(statement: str) -> list[str]:
    """Return the heavy libraries that ``statement`` loads."""
    result = python(
        "-c", f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_check_sees_a_heavy_library() -> None:
    assert loaded_by("import PIL") == ["PIL"]


def test_the_commands_load_no_framework() -> None:
    assert loaded_by("import job.cli.main") == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_takes_less_than_0_3_seconds(arguments: list[str]) -> None:
    seconds = []
    for _ in range(4):
        before = processor_seconds()
        result = python("-m", "job", *arguments)
        seconds.append(processor_seconds() - before)
        assert result.returncode == 0, result.stderr
        assert "Usage:" in result.stdout
    # Processor time, and the least of several: what else the machine does only adds to them.
    assert min(seconds) < 0.3, seconds


def processor_seconds() -> float:
    """Return the processor time of all programs that this process has run."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
