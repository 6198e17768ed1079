"""The index of a packed data set: ``index.json``, which describes the shards beside it.

    index.json              this file, written last: its presence means that all is there
    shard-00000.u8          rows of raw uint8 pixels [N, H, W, C];
                            numpy.fromfile(path, "u1").reshape(-1, H, W, C) reads it
    shard-00000.labels.i32  their labels, little-endian int32 [N]: positions in ``classes``, -1 for
                            none; absent if nothing is labelled

Knows the file's layout and its checks, not how shards are made or read. An index may come from
anyone: every field has a limit.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import StrictBool

from job.config.errors import DataError
from job.config.validation import Expected, shown
from job.data.json_fields import (
    Counts,
    Items,
    Matching,
    Sha256,
    Text,
    Whole,
    WrongField,
    parse_object,
    validate_fields,
)
from job.storage.store import ObjectMissing, ObjectStore

INDEX_KEY = "index.json"
FORMAT_VERSION = 1
MAX_BYTES = 64 << 20  # of the index: about 170,000 shards, of which 16 MiB is the usual size
MAX_ROW_BYTES = 1 << 30  # of one image
MAX_SHARD_BYTES = 1 << 40
MAX_NUM_ROWS = 1 << 48
LABEL_BYTES = 4  # of one label, int32
REMEDY = "pack the images again with `dcgan-train data pack SOURCE DEST`"

# No folder and no leading dot: the name cannot lead out of the data set.
FileName = Annotated[
    str, Matching("[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", "a file name without a folder")
]
Side = Annotated[int, Whole(1)]


@dataclass(frozen=True)
class LabelFile:
    """The labels of one shard; as many as the shard has rows."""

    name: FileName
    sha256: Sha256


@dataclass(frozen=True)
class Shard:
    """One file of rows."""

    name: FileName
    num_rows: Annotated[int, Whole(1)]
    num_bytes: Annotated[int, Whole(1, MAX_SHARD_BYTES)]
    sha256: Sha256
    labels: LabelFile | None = None


@dataclass(frozen=True)
class ImageClass:
    """One class of images, by the name of its folder or its number."""

    name: Text
    num_rows: Annotated[int, Whole(0)]


@dataclass(frozen=True)
class SkippedImage:
    """A broken image left out by ``--skip-bad``, and the reason."""

    name: Text
    reason: Text


@dataclass(frozen=True)
class PackedSource:
    """The source of the images, and what was not taken from it."""

    uri: Text
    kind: Text
    num_bytes: Annotated[int, Whole()] | None  # of the source's files; None: there are none
    num_read: Annotated[int, Whole()]
    num_skipped: Annotated[int, Whole()]
    skipped: Items[SkippedImage]  # the first 100
    ignored: Counts  # files that are not images, by extension
    # SHA-256 over the files' names, sizes and versions; None if the URI decides, or in old ones.
    signature: Sha256 | None = None
    digital_source_type: Text | None = None  # IPTC's, of generated images; None for others


@dataclass(frozen=True)
class PackSettings:
    """The options of ``data pack`` that decide the content of the shards."""

    size: Text | None = None  # HxW; None: the images' own
    channels: Annotated[int, Whole()] | None = None  # None: 1 if all images are grey, else 3
    fit: Text = "crop"
    seed: Annotated[int, Whole()] = 0
    shard_bytes: Annotated[int, Whole(1)] | None = None  # None: ``shard_writer.shard_bytes_for``
    skip_bad: StrictBool = False
    limit: Annotated[int, Whole()] | None = None
    split: Text | None = None


@dataclass(frozen=True)
class Index:
    """A packed data set: ``num_rows`` images, uint8, of ``image_shape`` ``(H, W, C)``."""

    image_shape: Annotated[
        tuple[Side, Side, Side],
        Expected(
            "[height, width, channels], whole numbers of at least 1,"
            f" at most {MAX_ROW_BYTES:,} bytes together"
        ),
    ]
    num_rows: Annotated[int, Whole(1, MAX_NUM_ROWS)]
    shards: Items[Shard]
    classes: Items[ImageClass] | None
    source: PackedSource
    options: PackSettings
    packed_by: Text

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one image."""
        return math.prod(self.image_shape)

    @property
    def is_labelled(self) -> bool:
        """Return whether every image has a class."""
        num_rows = sum(each.num_rows for each in self.classes or ())
        return num_rows == self.num_rows and all(shard.labels for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, over the shape and the shards' hashes.

        It is equal if and only if the images are, in the same order and shards.
        """
        rows = [
            [shard.num_rows, shard.sha256, shard.labels.sha256 if shard.labels else None]
            for shard in self.shards
        ]
        canonical = json.dumps(
            [list(self.image_shape), "uint8", self.num_rows, rows], separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


def label_shards(index: Index) -> tuple[Shard, ...]:
    """Return the label files as shards with rows of 4 bytes; ``()`` unless all shards have one."""
    return tuple(
        Shard(shard.labels.name, shard.num_rows, shard.num_rows * LABEL_BYTES, shard.labels.sha256)
        for shard in index.shards
        if shard.labels and index.is_labelled
    )


def write_index(store: ObjectStore, index: Index) -> None:
    """Commit the data set: write ``index.json`` beside the shards, which must be complete."""
    fields = {
        "format_version": FORMAT_VERSION,
        "dtype": "uint8",
        **dataclasses.asdict(index),
        "fingerprint": index.fingerprint,
    }
    data = (json.dumps(fields, indent=2) + "\n").encode()
    if len(data) > MAX_BYTES:
        raise DataError(
            f"{_uri(store)}: {len(index.shards):,} shards make an index of {len(data):,} bytes;"
            f" expected at most {MAX_BYTES:,}: pack with a larger --shard-bytes"
        )
    store.write(INDEX_KEY, data)


def read_index(store: ObjectStore) -> Index:
    """Return the validated index at ``store``. Raise ``DataError`` if it is missing or damaged."""
    try:
        data = store.read_range(INDEX_KEY, 0, MAX_BYTES + 1)
    except ObjectMissing:
        raise DataError(
            f"{_uri(store)}: not found; expected a packed data set at {store.uri}:"
            " correct the path,"
            " or pack images with `dcgan-train data pack SOURCE DEST`"
        ) from None
    return parse_index(data, _uri(store))


def parse_index(data: bytes, uri: str) -> Index:
    """Return the validated content of an ``index.json``. Raise ``DataError`` naming the field."""
    if not data.strip():
        raise DataError(f"{uri}: is empty; expected the index of a packed data set: {REMEDY}")
    try:
        return _parse(data)
    except WrongField as error:
        raise DataError(f"{uri}: {error}: {REMEDY}") from None


def _uri(store: ObjectStore) -> str:
    return f"{store.uri.rstrip('/')}/{INDEX_KEY}"


def _parse(data: bytes) -> Index:
    fields = parse_object(data, MAX_BYTES, FORMAT_VERSION)
    if (dtype := fields.get("dtype")) != "uint8":
        raise WrongField(f"dtype is {shown(dtype)}; expected 'uint8'")
    options = fields.get("options")
    for name in ("fit", "seed", "skip_bad"):  # their defaults are for packing, not for an index
        if isinstance(options, dict) and name not in options:
            raise WrongField(f"options.{name} is missing")
    found = validate_fields(_Fingerprint, fields).fingerprint
    index = validate_fields(Index, {"classes": None, **fields})
    _check_shards(index)
    if found != index.fingerprint:
        raise WrongField(
            f"fingerprint is {found}; expected {index.fingerprint} from the shards listed:"
            " the file was changed after packing"
        )
    return index


@dataclass(frozen=True)
class _Fingerprint:
    fingerprint: Sha256


def _check_shards(index: Index) -> None:
    """Raise ``WrongField`` if sizes and numbers of rows disagree, or two files have one name."""
    if index.row_bytes > MAX_ROW_BYTES:
        raise WrongField(
            f"image_shape is {list(index.image_shape)}; expected at most {MAX_ROW_BYTES:,} bytes"
        )
    for number, shard in enumerate(index.shards):
        if shard.num_bytes != shard.num_rows * index.row_bytes:
            raise WrongField(
                f"shards[{number}].num_bytes is {shard.num_bytes}; expected"
                f" {shard.num_rows * index.row_bytes}, {shard.num_rows} rows of"
                f" {index.row_bytes} bytes"
            )
    names = [file.name for shard in index.shards for file in (shard, shard.labels) if file]
    if len(set(names)) != len(names):
        raise WrongField(
            f"shards are {len(names)} files with {len(set(names))} different names;"
            " expected different names"
        )
    if (total := sum(shard.num_rows for shard in index.shards)) != index.num_rows:
        raise WrongField(
            f"num_rows is {index.num_rows}; expected {total}, the sum over"
            f" the {len(index.shards)} shards"
        )
