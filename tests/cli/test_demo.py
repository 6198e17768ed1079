"""``dcgan-train demo`` before it trains: its images, packed once."""

import socket
from pathlib import Path

import numpy as np
import pytest

from job.cli.demo import has_few_classes
from job.cli.main import run_command
from job.data.index import ImageClass, Index, LabelFile, PackedSource, PackSettings, Shard
from job.sources.keras_datasets import DEBIAN_FASHION
from tests.launch.program import environment, run
from tests.servers.ports import free_port


def test_too_few_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "images.npy", np.zeros((10, 28, 28), np.uint8))
    command = ["demo", "--data", str(tmp_path / "images.npy"), "--folder", str(tmp_path / "demo")]
    assert run_command(command) == 5
    said = f"error: {tmp_path}/images.npy: 10 images; the demo needs at least 32"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "is_learnt"),
    [
        (["bag", "shoe"], True),
        (["bag"], False),
        (["bag", "s" * 65], False),
        (["bag", "shoe", None], False),
        ([str(number) for number in range(33)], False),
    ],
)
def test_it_trains_on_classes_if_they_fit(
    names: list[str | None], is_learnt: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = tuple(ImageClass(name, 20) for name in names if name)
    shard = Shard("a.u8", 20 * len(names), 1, "0" * 64, LabelFile("a.labels.i32", "0" * 64))
    source = PackedSource("a", "folder", 1, 1, 0, (), {})
    shape = (28, 28, 1)
    index = Index(shape, 20 * len(names), (shard,), classes, source, PackSettings(), "1")
    assert has_few_classes(index) == is_learnt
    assert ("the generator learns them" in capsys.readouterr().out) == is_learnt


@pytest.mark.slow
def test_fashion_mnist_of_debian_or_drawn_garments_without_a_network(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    env = environment(
        tmp_path, KERAS_HOME=str(tmp_path / "keras"), https_proxy=nowhere, HTTPS_PROXY=nowhere
    )
    # The demo ends before Ray starts, after packing.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        code, output = run(
            ["demo", "--folder", str(tmp_path / "demo"), "--port", port], tmp_path / "log", env
        )
    assert code == 2
    assert f"error: metrics.port {port} is taken" in output
    if DEBIAN_FASHION.is_dir():
        assert "60,000 images, 180 shards" in output
        assert "demo: 10 classes: the generator learns them" in output
        assert [path.name for path in (tmp_path / "demo" / "data").iterdir()] == ["fashion-mnist"]
    else:
        assert "install Debian's package dataset-fashion-mnist" in output
        assert "demo: training on garments drawn by the program instead\n" in output
        assert "20,000 images" in output
