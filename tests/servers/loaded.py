"""Modules that the server of ``forked`` imports before it forks."""

import importlib
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

for name in ("job.training.worker", "tests.launch.program", "tests.streaming.sets"):
    importlib.import_module(name)
