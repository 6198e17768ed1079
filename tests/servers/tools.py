"""Programs that tests need besides Python packages."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".tools" / "bin"


def require_tool(name: str) -> Path:
    """Return the path of a tool in ``.tools/bin`` or on PATH.

    Without it skip the test, or fail it if DCGAN_REQUIRE_TOOLS is 1 (CI).
    """
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found:
        return Path(found)
    text = (
        f"{name}: found neither in {BIN.relative_to(ROOT)} nor on PATH; "
        "run `make tools`, or install Debian's package of that name"
    )
    if os.environ.get("DCGAN_REQUIRE_TOOLS") == "1":
        pytest.fail(text)
    pytest.skip(text)
