"""The index of a packed data set: ``index.json``, the one file that says what the shards beside it hold.

    index.json                    this file, written last: its presence means that the data set is complete
    shard-00000.u8                rows of raw uint8 pixels [N, H, W, C]; read it with numpy.fromfile(path, "u1").reshape(-1, H, W, C)
    shard-00000.labels.i32        their labels, little-endian int32 [N]: places in ``classes``, -1 for none; absent when nothing is labelled

Knows the file's layout and its checks, not how shards are made or read. Who wrote it may be a stranger: all that it says has a limit.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from job.config.errors import DataError
from job.data.json_fields import JsonFields, WrongField, shown
from job.storage.store import ObjectMissing, ObjectStore

INDEX_KEY = "index.json"
FORMAT_VERSION = 1
MAX_BYTES = 64 << 20  # of the index: about 170,000 shards, of which 16 MiB is the usual size
MAX_ROW_BYTES = 1 << 30  # of one image
MAX_SHARD_BYTES = 1 << 40
MAX_NUM_ROWS = 1 << 48
REMEDY = "pack the images again with `dcgan-train data pack SOURCE DEST`"


@dataclass(frozen=True)
class LabelFile:
    """The labels of one shard; as many as the shard has rows."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Shard:
    """One file of rows."""

    name: str
    num_rows: int
    num_bytes: int
    sha256: str
    labels: LabelFile | None


@dataclass(frozen=True)
class ImageClass:
    """One class of images, by the name of its folder or its number."""

    name: str
    num_rows: int


@dataclass(frozen=True)
class SkippedImage:
    """A broken image left out by ``--skip-bad``, and what was wrong with it."""

    name: str
    reason: str


@dataclass(frozen=True)
class PackedSource:
    """Where the images came from, and what was not taken from there."""

    uri: str
    kind: str
    num_bytes: int | None  # of the source's files; None where there are none to measure
    num_read: int
    num_skipped: int
    skipped: tuple[SkippedImage, ...]  # the first 100
    ignored: dict[str, int]  # files that are no images, by extension
    signature: str | None = (
        None  # SHA-256 over the files' names, sizes and versions; None where the URI decides, or packed before it was kept
    )


@dataclass(frozen=True)
class PackSettings:
    """The options of ``data pack`` that decide what is in the shards."""

    size: str | None = None  # HxW; None: the images' own
    channels: int | None = None  # None: 1 when all images are grey, else 3
    fit: str = "crop"
    seed: int = 0
    shard_bytes: int | None = (
        None  # None: by the size of the data set (``shard_writer.shard_bytes_for``)
    )
    skip_bad: bool = False
    limit: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class Index:
    """A packed data set: ``num_rows`` images of ``image_shape`` (height, width, channels), uint8."""

    image_shape: tuple[int, int, int]
    num_rows: int
    shards: tuple[Shard, ...]
    classes: tuple[ImageClass, ...] | None
    source: PackedSource
    options: PackSettings
    packed_by: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        height, width, channels = self.image_shape
        return height * width * channels

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the shape and the shards' hashes: equal when and only when the images are, in the same order and shards."""
        rows = [
            [shard.num_rows, shard.sha256, shard.labels.sha256 if shard.labels else None]
            for shard in self.shards
        ]
        canonical = json.dumps(
            [list(self.image_shape), "uint8", self.num_rows, rows], separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


def write_index(store: ObjectStore, index: Index) -> None:
    """Commit the data set: put ``index.json`` beside the shards, which must all be there already."""
    fields = {
        "format_version": FORMAT_VERSION,
        "dtype": "uint8",
        **dataclasses.asdict(index),
        "fingerprint": index.fingerprint,
    }
    data = (json.dumps(fields, indent=2) + "\n").encode()
    if len(data) > MAX_BYTES:
        raise DataError(
            f"{_where(store)}: {len(index.shards):,} shards make an index of {len(data):,} bytes; expected at most {MAX_BYTES:,}:"
            " pack with a larger --shard-bytes"
        )
    store.write(INDEX_KEY, data)


def read_index(store: ObjectStore) -> Index:
    """The checked index of the data set at ``store``; ``DataError`` where it is missing, damaged or of another format."""
    try:
        data = store.read_range(INDEX_KEY, 0, MAX_BYTES + 1)
    except ObjectMissing:
        raise DataError(
            f"{_where(store)}: not found; expected a packed data set at {store.uri}: correct the path,"
            " or pack images with `dcgan-train data pack SOURCE DEST`"
        ) from None
    return parse_index(data, _where(store))


def parse_index(data: bytes, where: str) -> Index:
    """The checked content of an ``index.json``; ``DataError`` names ``where`` and the field that is wrong."""
    if not data.strip():
        raise DataError(f"{where}: is empty; expected the index of a packed data set: {REMEDY}")
    try:
        return _parse(JsonFields.parse(data, MAX_BYTES))
    except WrongField as error:
        raise DataError(f"{where}: {error}: {REMEDY}") from None


def _where(store: ObjectStore) -> str:
    return f"{store.uri.rstrip('/')}/{INDEX_KEY}"


def _parse(fields: JsonFields) -> Index:
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        raise WrongField(
            f"format_version is {version}; this program reads version {FORMAT_VERSION}"
        )
    if (dtype := fields.text("dtype")) != "uint8":
        raise WrongField(f"dtype is {shown(dtype)}; expected 'uint8'")
    shape = fields.integers("image_shape", minimum=1)
    if len(shape) != 3 or math.prod(shape) > MAX_ROW_BYTES:
        raise WrongField(
            f"image_shape is {shown(shape)}; expected [height, width, channels], at most {MAX_ROW_BYTES:,} bytes"
        )
    shards = tuple(_parse_shard(shard, math.prod(shape)) for shard in fields.objects("shards"))
    num_rows = fields.integer("num_rows", 1, MAX_NUM_ROWS)
    names = [shard.name for shard in shards] + [
        shard.labels.name for shard in shards if shard.labels
    ]
    if len(set(names)) != len(names):
        raise WrongField(
            f"shards are {len(names)} files with {len(set(names))} different names; expected a file of its own for each"
        )
    if (total := sum(shard.num_rows for shard in shards)) != num_rows:
        raise WrongField(
            f"num_rows is {num_rows}; expected {total}, the sum over the {len(shards)} shards"
        )
    classes = None
    if fields.has("classes"):
        classes = tuple(
            ImageClass(entry.text("name"), entry.integer("num_rows", minimum=0))
            for entry in fields.objects("classes")
        )
    index = Index((shape[0], shape[1], shape[2]), num_rows, shards, classes, _parse_source(fields.object("source")),
                  _parse_options(fields.object("options")), fields.text("packed_by"))  # fmt: skip
    if (found := fields.sha256("fingerprint")) != index.fingerprint:
        raise WrongField(
            f"fingerprint is {found}; expected {index.fingerprint} from the shards listed: the file was changed after packing"
        )
    return index


def _parse_shard(fields: JsonFields, row_bytes: int) -> Shard:
    labels = None
    if fields.has("labels"):
        entry = fields.object("labels")
        labels = LabelFile(entry.file_name("name"), entry.sha256("sha256"))
    num_rows, num_bytes = (
        fields.integer("num_rows", 1),
        fields.integer("num_bytes", 1, MAX_SHARD_BYTES),
    )
    if num_bytes != num_rows * row_bytes:
        raise WrongField(
            f"{fields.path}.num_bytes is {num_bytes}; expected {num_rows * row_bytes}, {num_rows} rows of {row_bytes} bytes"
        )
    return Shard(fields.file_name("name"), num_rows, num_bytes, fields.sha256("sha256"), labels)


def _parse_source(fields: JsonFields) -> PackedSource:
    skipped = tuple(
        SkippedImage(entry.text("name"), entry.text("reason"))
        for entry in fields.objects("skipped")
    )
    return PackedSource(fields.text("uri"), fields.text("kind"), fields.optional_integer("num_bytes"), fields.integer("num_read"),
                        fields.integer("num_skipped"), skipped, fields.counts("ignored"),
                        fields.sha256("signature") if fields.has("signature") else None)  # fmt: skip


def _parse_options(fields: JsonFields) -> PackSettings:
    return PackSettings(
        size=fields.optional_text("size"),
        channels=fields.optional_integer("channels"),
        fit=fields.text("fit"),
        seed=fields.integer("seed"),
        shard_bytes=fields.optional_integer("shard_bytes", minimum=1),
        skip_bad=fields.boolean("skip_bad"),
        limit=fields.optional_integer("limit"),
        split=fields.optional_text("split"),
    )
