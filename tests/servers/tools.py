"""Programs that tests need besides Python packages."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".tools" / "bin"


def require_tool(name: str) -> Path:
    """Return the path of a tool in ``.tools/bin`` or on PATH.

    Without it skip the test, or fail it if DCGAN_REQUIRE_TOOLS is 1 (CI).
    """
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if not found:
        skip_or_fail(
            f"{name}: found neither in {BIN.relative_to(ROOT)} nor on PATH; "
            "run `make tools`, or install Debian's package of that name"
        )
    return Path(found)


def skip_or_fail(text: str) -> NoReturn:
    """Skip the test because of what this machine lacks; fail it if DCGAN_REQUIRE_TOOLS=1 (CI)."""
    if os.environ.get("DCGAN_REQUIRE_TOOLS") == "1":
        pytest.fail(text)
    pytest.skip(text)
