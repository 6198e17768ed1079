"""Programs that tests need and Python does not bring."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".tools" / "bin"


def require_tool(name: str) -> Path:
    """Path of a tool built into ``.tools/bin`` or found on PATH; without it the test skips, or fails where DCGAN_REQUIRE_TOOLS=1 (CI)."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found:
        return Path(found)
    text = f"{name}: found neither in {BIN.relative_to(ROOT)} nor on PATH; run `make tools`, or install Debian's package of that name"
    if os.environ.get("DCGAN_REQUIRE_TOOLS") == "1":
        pytest.fail(text)
    pytest.skip(text)
