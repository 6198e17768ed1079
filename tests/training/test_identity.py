"""A run folder belongs to one model, one data set and one order of images; everything else may change between starts."""

import dataclasses

import numpy as np
import pytest

from job.checkpoints.manifest import Manifest
from job.config.errors import ConfigError, DataError
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import Index, PackSettings, read_index
from job.packing.pack import PackJob, pack
from job.storage.uri import open_store
from job.training.identity import check_identity, check_images, model_identity, order_identity


def spec_of(*overrides: str) -> RunSpec:
    return load_run("notebook", overrides=["uri=runs/one", "data.uri=packed", *overrides])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "images.npy", np.zeros((40, 28, 28), np.uint8))
    pack(
        PackJob(
            str(folder / "images.npy"),
            str(folder / "packed"),
            PackSettings(None, None, "crop", 0, 1 << 20, False, None, None),
        )
    )
    return read_index(open_store(str(folder / "packed")))


def saved(spec: RunSpec, index: Index) -> Manifest:
    return Manifest(
        100,
        3200,
        "now",
        model_identity(spec),
        index.fingerprint,
        order_identity(spec),
        2,
        {},
        {},
        (),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "model.generator.latent_size=64",
            "generator.latent_size is 100 there and 64 in this configuration",
        ),
        (
            "training.generator_optimizer.name=adam",
            "generator_optimizer is 'rmsprop' there and 'adam'",
        ),
        ("training.ema_decay=0.9", "averaged is False there and True"),
        ("seed=1", "was trained with seed 0, this configuration has 1"),
        (
            "training.global_batch_size=64",
            "was trained with training.global_batch_size 32, this configuration has 64",
        ),
    ],
)
def test_another_run_is_refused_with_both_values(index: Index, change: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_identity(spec_of(change), index, saved(spec_of(), index), "runs/one")
    assert message in str(caught.value)
    assert "runs/one" in str(caught.value)


def test_other_images_are_refused(index: Index) -> None:
    other = dataclasses.replace(saved(spec_of(), index), data_fingerprint="0" * 64)
    with pytest.raises(
        ConfigError, match=r"was trained on data 0000000000000000, packed is [0-9a-f]{16}"
    ):
        check_identity(spec_of(), index, other, "runs/one")


@pytest.mark.parametrize(
    "change",
    [
        "workers.count=4",
        "training.steps=500",
        "training.generator_optimizer.learning_rate=0.01",
        "checkpoints.keep=9",
    ],
)
def test_what_does_not_change_the_state_may_change(index: Index, change: str) -> None:
    check_identity(spec_of(change), index, saved(spec_of(), index), "runs/one")


def test_images_must_fit_the_model_and_fill_a_batch(index: Index) -> None:
    check_images(spec_of(), index)
    with pytest.raises(
        ConfigError,
        match=r"images are 28x28x1, the model takes 32x32x3 .*--size 32x32 --channels 3",
    ):
        check_images(spec_of("model.image_size=32", "model.channels=3"), index)
    with pytest.raises(
        DataError,
        match=r"40 images; expected at least one global batch of 64 .* Lower it to at most 40, or pack more images",
    ):
        check_images(spec_of("training.global_batch_size=64"), index)
