"""TensorFlow, quietly, before anything imports it; a generator and a run folder."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def generator():
    from job.config.load import load_run
    from job.gan.generator import build_generator

    spec = load_run(
        "fashion",
        overrides=[
            "uri=a",
            "data.uri=b",
            "model.generator.latent_size=10",
            "model.generator.filters=[8, 4]",
        ],
    )
    return build_generator(spec.model, 0)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with checkpoints of steps 10 and 20."""
    from tests.synthesis.runs import save_run, spec_of

    folder = tmp_path_factory.mktemp("run")
    save_run(folder, spec_of("fashion"), 10, 20)
    return folder
