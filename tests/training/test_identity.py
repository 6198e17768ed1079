"""A run folder belongs to one model, data set and order of images; all else may change."""

import dataclasses

import numpy as np
import pytest

from job.checkpoints.manifest import Manifest, Part, parse_manifest
from job.config.errors import ConfigError, DataError, StorageError
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import (
    MAX_NUM_ROWS,
    ImageClass,
    Index,
    LabelFile,
    PackSettings,
    read_index,
)
from job.gan.sizes import generator_sizes
from job.packing.pack import PackJob, pack
from job.storage.uri import open_store
from job.training.identity import (
    MAX_CLASS_NAME,
    MAX_CLASSES,
    changes,
    check_identity,
    check_images,
    classes_of,
    model_identity,
    model_of,
    order_identity,
    order_of,
    settings_of,
)


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
        ("training.ema_half_life_images=1000", "averaged is False there and True"),
        ("model.discriminator.spectral_norm=true", "spectral_norm is False there and True"),
        ("seed=1", "was trained with seed 0, this configuration has 1"),
        (
            "training.global_batch_size=64",
            "was trained with training.global_batch_size 32, this configuration has 64",
        ),
        ("data.streams=8", "was trained with data.streams unset, this configuration has 8"),
    ],
)
def test_another_run_is_refused_with_both_values(index: Index, change: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_identity(spec_of(change), index, saved(spec_of(), index), "runs/one")
    assert message in str(caught.value)
    assert "runs/one" in str(caught.value)


def test_the_streams_of_a_run_stay(index: Index) -> None:
    before = saved(spec_of("data.streams=8"), index)
    check_identity(spec_of("data.streams=8"), index, before, "runs/one")
    with pytest.raises(ConfigError, match=r"was trained with data.streams 8, .* has unset"):
        check_identity(spec_of(), index, before, "runs/one")


def test_a_key_that_an_earlier_version_did_not_have_is_its_default(index: Index) -> None:
    before = saved(spec_of(), index)
    model = {**before.model, "discriminator": dict(before.model["discriminator"])}
    del model["discriminator"]["spectral_norm"]
    before = dataclasses.replace(before, model=model)
    check_identity(spec_of(), index, before, "runs/one")
    with pytest.raises(ConfigError, match="spectral_norm is False there and True"):
        check_identity(spec_of("model.discriminator.spectral_norm=true"), index, before, "runs/one")


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


def test_changed_settings_are_listed_with_both_values(index: Index) -> None:
    before = saved(spec_of(), index)
    assert changes(spec_of("training.steps=70"), before) == {}  # an earlier version saved none
    before = dataclasses.replace(before, settings=settings_of(spec_of()))
    now = spec_of(
        "training.generator_optimizer.learning_rate=0.5",
        "training.steps=70",
        "workers.count=4",
        "uri=runs/two",
    )
    assert changes(now, before) == {
        "training.generator_optimizer.learning_rate": (0.001, 0.5),
        "training.steps": (None, 70),
        "workers.count": (2, 4),
    }


def test_a_manifest_without_newer_keys_has_their_defaults(index: Index) -> None:
    old = saved(spec_of(), index)
    del old.model["conditional"]
    check_identity(spec_of(), index, old, "runs/one")
    assert not model_of(old, "runs/one")[0].conditional


LABELLED = (ImageClass("cat", 20), ImageClass("dog", 20))


def labelled(index: Index, classes: tuple[ImageClass, ...] | None = LABELLED) -> Index:
    shards = tuple(
        dataclasses.replace(shard, labels=LabelFile(f"{shard.name}.i32", "a" * 64))
        for shard in index.shards
    )
    return dataclasses.replace(index, classes=classes, shards=shards)


def test_checkpoints_of_other_classes_are_refused(index: Index) -> None:
    spec, index = spec_of("model.conditional=true"), labelled(index)
    assert classes_of(spec, index) == LABELLED
    assert classes_of(spec_of(), index) == ()
    before = dataclasses.replace(saved(spec, index), classes=LABELLED)
    check_identity(spec, index, before, "runs/one")
    renamed = labelled(index, (ImageClass("cat", 20), ImageClass("fox", 20)))
    with pytest.raises(
        ConfigError, match=r"of other classes: \['cat', 'dog'\] there, \['cat', 'fox'\] in packed;"
    ):
        check_identity(spec, renamed, before, "runs/one")
    with pytest.raises(ConfigError, match="conditional is True there and False"):
        check_identity(spec_of(), index, before, "runs/one")


def test_a_manifest_has_classes_exactly_if_its_model_is_conditional(index: Index) -> None:
    spec = spec_of("model.conditional=true")
    manifest = dataclasses.replace(saved(spec, index), classes=LABELLED)
    assert model_of(manifest, "runs/one")[0] == spec.model
    for broken in (
        saved(spec, index),
        dataclasses.replace(saved(spec_of(), index), classes=LABELLED),
    ):
        with pytest.raises(StorageError, match=r"model\.conditional is .* use another checkpoint"):
            model_of(broken, "runs/one")


def of_an_earlier_version(spec: RunSpec, index: Index) -> Manifest:
    """Return a conditional manifest without the key, with the bytes of the spec's weights."""
    sizes = generator_sizes(spec.model, len(LABELLED))
    num_bytes = 4 * (sizes.num_trainable + sizes.num_statistics) + 2690  # headers, as measured
    parts = (Part("generator.npz", num_bytes, "a" * 64),)
    manifest = dataclasses.replace(saved(spec, index), classes=LABELLED, parts=parts)
    del manifest.model["generator"]["embedding_size"]
    return manifest


def test_the_bytes_say_how_long_the_embedding_of_an_earlier_version_is(index: Index) -> None:
    spec, index = spec_of("model.conditional=true"), labelled(index)
    long = spec_of("model.conditional=true", "model.generator.embedding_size=100")

    first = of_an_earlier_version(long, index)
    assert model_of(first, "runs/one")[0] == long.model
    check_identity(long, index, first, "runs/one")
    with pytest.raises(
        ConfigError, match=r"model\.generator\.embedding_size is 100 there and 2 in this"
    ):
        check_identity(spec, index, first, "runs/one")

    second = of_an_earlier_version(spec, index)
    assert model_of(second, "runs/one")[0] == spec.model
    check_identity(spec, index, second, "runs/one")


def test_equally_long_embeddings_are_one_model(index: Index) -> None:
    index = labelled(index)
    default = spec_of("model.conditional=true", "model.generator.latent_size=2")
    same = spec_of("model.conditional=true", "model.generator.embedding_size=2")
    check_identity(default, index, of_an_earlier_version(default, index), "runs/one")
    newest = dataclasses.replace(saved(same, index), classes=LABELLED)
    check_identity(spec_of("model.conditional=true"), index, newest, "runs/one")


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        (None, "has no classes; expected a class for every image"),
        (
            (ImageClass("cat", 20), ImageClass("dog", 19)),
            "has 39 of 40 images with a class; expected",
        ),
        (
            (ImageClass("cat", 20), ImageClass("d" * 65, 20)),
            "has 2 classes with names of up to 65 characters; expected at most 1,024 and 64",
        ),
    ],
)
def test_a_conditional_model_needs_the_class_of_every_image(
    index: Index, classes: tuple[ImageClass, ...] | None, found: str
) -> None:
    given, spec = labelled(index, classes), spec_of("model.conditional=true")
    check_images(spec_of(), given)
    check_images(spec, labelled(index))
    with pytest.raises(ConfigError) as caught:
        check_images(spec, given)
    assert f"model.conditional is true and packed {found}" in str(caught.value)


def test_a_manifest_has_room_for_the_longest_list_of_classes(index: Index) -> None:
    longest = "\U0001f408" * MAX_CLASS_NAME  # a character that takes 12 bytes in JSON
    manifest = dataclasses.replace(
        saved(spec_of("model.conditional=true"), index),
        classes=(ImageClass(longest, MAX_NUM_ROWS),) * MAX_CLASSES,
        parts=(Part("generator.npz", 1, "a" * 64),),
    )
    assert parse_manifest(manifest.to_json(), "runs/one").classes == manifest.classes


def test_a_manifest_contains_the_model(index: Index) -> None:
    spec = spec_of("training.ema_decay=0.9", "training.precision=bfloat16")
    manifest = dataclasses.replace(saved(spec, index), settings=settings_of(spec))
    assert model_of(manifest, "runs/one") == (spec.model, "bfloat16", True)
    assert model_of(saved(spec_of(), index), "runs/one") == (spec_of().model, "float32", False)


def test_images_must_fit_the_model_and_fill_a_batch(index: Index) -> None:
    check_images(spec_of(), index)
    with pytest.raises(
        ConfigError,
        match=r"images are 28x28x1, the model takes 32x32x3 .*--size 32x32 --channels 3",
    ):
        check_images(spec_of("model.image_size=32", "model.channels=3"), index)
    with pytest.raises(
        DataError,
        match=r"40 images; expected at least one global batch of 64 .*"
        r" Lower it to at most 40, or pack more images",
    ):
        check_images(spec_of("training.global_batch_size=64"), index)


def test_the_order_of_a_run_has_its_streams(index: Index) -> None:
    assert order_of(spec_of(), index).num_streams == 32
    assert order_of(spec_of("data.streams=8"), index).num_streams == 8
