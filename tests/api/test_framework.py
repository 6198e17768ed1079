"""TensorFlow loads without a line."""

import subprocess
import sys

import pytest


@pytest.mark.live
@pytest.mark.training
def test_loading_and_the_search_for_devices_print_nothing() -> None:
    program = (
        "from job.api.framework import load_tensorflow; load_tensorflow()\n"
        "from job.quality.classifier import build_classifier\n"
        "build_classifier((8, 8, 1), 2, 0); print('loaded')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert (result.stdout, result.stderr) == ("loaded\n", "")
