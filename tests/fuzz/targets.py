"""Parsers to fuzz, each with a valid input to break and the one error that it may raise."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import numpy as np

from job.checkpoints import arrays
from job.checkpoints.manifest import BadManifest, Manifest, Part, parse_manifest
from job.config.errors import DataError, StorageError
from job.data.index import (
    FORMAT_VERSION,
    ImageClass,
    Index,
    LabelFile,
    PackedSource,
    PackSettings,
    Shard,
    SkippedImage,
    parse_index,
)
from tests.fuzz.hostile import hostile_bytes, hostile_json

_MAX_SAID = 1000  # characters of a message


@dataclass(frozen=True)
class Target:
    """``parse`` raises ``refusal`` and nothing else, and checks what it takes."""

    make: Callable[[Random], bytes]
    parse: Callable[[bytes], Any]
    refusal: type[Exception]

    def accepts(self, data: bytes) -> bool:
        """Return True if ``data`` is taken, False if it is refused in a short printable message.

        Any other exception is a find.
        """
        try:
            self.parse(data)
        except self.refusal as error:
            refusal = error
        else:
            return True
        assert type(refusal) is self.refusal, refusal
        assert len(str(refusal)) < _MAX_SAID, len(str(refusal))
        assert str(refusal).isprintable(), repr(str(refusal))
        return False


MANIFEST = Manifest(
    step=1200, images_seen=38400, created="2026-01-01T00:00:00+00:00",
    model={
        "image_size": [28, 28], "init_stddev": None, "averaged": True,
        "generator": {"filters": [128, 64], "activation": "selu"},
    },
    data_fingerprint="a" * 64, order={"seed": 0, "training.global_batch_size": 32}, world_size=2,
    metrics={"generator_loss": 0.7, "discriminator_loss": 1.3},
    versions={"python": "3.11.7", "keras": "3.15.0"},
    parts=(Part("generator.npz", 1000, "b" * 64), Part("generator.keras", 2000, "c" * 64)),
    settings={"seed": 0, "data.horizontal_flip": False, "model.generator.filters": [128, 64]},
    noise_stream=1, reason="schedule",
)  # fmt: skip

INDEX = Index(
    image_shape=(28, 28, 1), num_rows=30,
    shards=(
        Shard("shard-00000.u8", 20, 15680, "a" * 64, LabelFile("shard-00000.labels.i32", "b" * 64)),
        Shard("shard-00001.u8", 10, 7840, "c" * 64, None),
    ),
    classes=(ImageClass("cat", 18), ImageClass("dog", 12)),
    source=PackedSource(
        "/photos", "folder", 1234, 31, 1, (SkippedImage("/photos/a.png", "is empty"),), {".txt": 2},
        "d" * 64,
    ),
    options=PackSettings(size="28x28", channels=1, limit=31), packed_by="dcgan-train 0.1.0",
)  # fmt: skip

ARRAYS = {
    "project/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "iterations": np.asarray(np.int64(7)),
}
EXPECTED = {name: (array.shape, array.dtype) for name, array in ARRAYS.items()}

_MANIFEST = json.loads(MANIFEST.to_json())
_INDEX = json.loads(
    json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "dtype": "uint8",
            **asdict(INDEX),
            "fingerprint": INDEX.fingerprint,
        }
    )
)
_PART = arrays.pack(ARRAYS)


def _parse_manifest(data: bytes) -> None:
    manifest = parse_manifest(data, "uri")
    # What is taken can be written, and is the same again.
    assert parse_manifest(manifest.to_json(), "uri") == manifest
    assert manifest.folder.startswith("checkpoints/step-")
    assert 0 <= manifest.num_bytes <= 2**34


def _parse_index(data: bytes) -> None:
    index = parse_index(data, "uri")
    assert index.row_bytes <= 2**30
    assert sum(shard.num_bytes for shard in index.shards) == index.num_rows * index.row_bytes
    assert not any("/" in shard.name or shard.name.startswith(".") for shard in index.shards)


def _parse_part(data: bytes) -> None:
    found = arrays.unpack(data, EXPECTED, "part")
    # Other readers find the same in what is taken.
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(EXPECTED)
        for name, array in ARRAYS.items():
            assert np.array_equal(archive[name], found[name])
            assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)


TARGETS = {
    "manifest": Target(
        lambda random: hostile_json(_MANIFEST, random), _parse_manifest, BadManifest
    ),
    "index": Target(lambda random: hostile_json(_INDEX, random), _parse_index, DataError),
    "part": Target(lambda random: hostile_bytes(_PART, random), _parse_part, StorageError),
}
