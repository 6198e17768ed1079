"""Data sets of Keras: from its folder, from Debian's package, or an error with the remedy."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from job.data.index import read_index
from job.sources.keras_datasets import DEBIAN_FASHION
from job.storage.uri import open_store
from tests.data.samples import idx, numbered, write_folder

ROOT = Path(__file__).parents[2]
FASHION_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


FASHION_FILES = [
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]  # fmt: skip


def run_program(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a data command in another process, which may load Keras."""
    program = "from job.cli.data import data; data(standalone_mode=False)"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_a_keras_data_set(tmp_path: Path) -> None:
    """As Keras itself reads it, from files in its cache, which come before Debian's."""
    for split, num_images in (("train", 60), ("t10k", 10)):
        images, labels = (
            numbered(num_images, 28, 28)[..., 0],
            (np.arange(num_images) % 10).astype(np.uint8),
        )
        for name, values in (
            (f"{split}-images-idx3-ubyte", images),
            (f"{split}-labels-idx1-ubyte", labels),
        ):
            write_folder(
                tmp_path / "datasets" / "fashion-mnist", {f"{name}.gz": gzip.compress(idx(values))}
            )
    result = run_program("pack", "keras:fashion_mnist", tmp_path / "out", KERAS_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    index = read_index(open_store(str(tmp_path / "out")))
    assert (index.num_rows, index.image_shape) == (60, (28, 28, 1))
    assert index.classes is not None
    assert (index.classes[9].name, index.classes[9].num_rows) == ("ankle boot", 6)


@pytest.mark.slow
@pytest.mark.skipif(
    not DEBIAN_FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
@pytest.mark.parametrize(
    ("split", "fingerprint", "class_sizes"),  # of what Keras' own loader gives
    [
        (
            "train",
            "c817e5deea217ca4d850998d09b70ad90d409dae8fd54d18bb2bc7bdf7dcf833",
            [32, 33, 31, 29, 29, 31, 33, 30, 27, 25],
        ),
        (
            "test",
            "50b257145b7553ad3e7c557159339358b184ac388a16aad27e2c9b112074ed7b",
            [32, 35, 39, 24, 30, 27, 28, 29, 29, 27],
        ),
    ],
)
def test_fashion_mnist_of_debian(
    tmp_path: Path, split: str, fingerprint: str, class_sizes: list[int]
) -> None:
    arguments = ("pack", "keras:fashion_mnist", tmp_path / "out", "--split", split, "--limit", 300)
    result = run_program(*arguments, KERAS_HOME=str(tmp_path / "keras"))
    assert result.returncode == 0, result.stderr
    index = read_index(open_store(str(tmp_path / "out")))
    assert (index.num_rows, index.image_shape, index.fingerprint) == (300, (28, 28, 1), fingerprint)
    assert [(found.name, found.num_rows) for found in index.classes or ()] == list(
        zip(FASHION_CLASSES, class_sizes, strict=True)
    )
    assert (index.source.uri, index.source.kind) == ("keras:fashion_mnist", "keras")
    assert not (tmp_path / "keras").exists()
    again = run_program(*arguments, KERAS_HOME=str(tmp_path))
    assert again.stdout.startswith("Already packed: 300 images"), again.stderr


@pytest.mark.slow
def test_a_keras_data_set_that_cannot_be_fetched(tmp_path: Path) -> None:
    """Neither in Keras' folder nor in Debian's, of which one file is missing here."""
    nowhere = "http://127.0.0.1:9"  # nothing listens on the discard port
    debian = write_folder(tmp_path / "debian", dict.fromkeys(FASHION_FILES[:3], b""))
    program = (
        "import pathlib, sys; from job.sources.keras_datasets import *; "
        "open_keras(sys.argv[1], 'train', pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program]
    env = os.environ | {
        "KERAS_HOME": str(tmp_path / "keras"),
        "https_proxy": nowhere,
        "HTTPS_PROXY": nowhere,
    }
    result = subprocess.run(
        [*command, "fashion_mnist", debian],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "job.config.errors.DataError: keras:fashion_mnist: Keras could not load it "
        "(URL fetch failure"
    )
    assert "Check the network" in last
    assert f"put {', '.join(FASHION_FILES)} into {tmp_path}/keras/datasets/fashion-mnist" in last
    assert "install Debian's package dataset-fashion-mnist" in last
    assert result.stderr.startswith("Traceback")  # and not with what TensorFlow says while it loads
    assert "oneDNN" not in result.stderr
