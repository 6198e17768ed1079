"""The libraries of tracking services, which ``make e2e`` installs beside ``.venv``."""

import pytest

from tests.servers.tools import ROOT, skip_or_fail

PACKAGES = ROOT / ".tools" / "tracking"


@pytest.fixture(scope="session")
def tracking_packages() -> str:
    """Their folder, for PYTHONPATH; skips the test if it is missing."""
    if not (PACKAGES / "mlflow").is_dir():
        skip_or_fail(
            f"{PACKAGES.relative_to(ROOT)}: not installed; run `make .tools/tracking/.installed`"
        )
    return str(PACKAGES)
