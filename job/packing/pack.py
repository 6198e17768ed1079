"""``data pack``: from any source of images to shards and an index on any store, in bounded memory.

    source --decode, fit--> rows --scatter over temporary files--> shuffled rows --> shards --upload--> store, index.json last

What is written depends on the source's content and the settings alone, not on the number of threads. The destination is complete or has no index:
whatever goes wrong, the shards already uploaded are deleted.

    result = pack(PackJob("photos.zip", "s3://bucket/photos", PackSettings(size="64x64")))
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from math import prod
from pathlib import Path

from job.config.errors import ConfigError, DataError, StorageError
from job.config.storage import StorageSpec
from job.data.index import INDEX_KEY, Index, PackedSource, PackSettings, read_index, write_index
from job.data.shard_writer import SHARD_NAME, ShardWriter, shard_bytes_for
from job.packing.rows import Progress, Rows
from job.sources.open_source import canonical_uri, open_source
from job.sources.source import Source
from job.storage.atomic import remove_leftovers
from job.storage.store import ObjectStore
from job.storage.uri import open_store

_PROBE_KEY = "index.json.packing"
_REMEDY = "choose another DEST, or delete what is there first"


@dataclass(frozen=True)
class PackResult:
    """The data set at the destination, and whether it was there already, packed from the same source with the same settings."""

    index: Index
    was_packed: bool


@dataclass(frozen=True)
class PackJob:
    """What to pack, where to and how; ``settings`` decide the content, the rest only how it is made."""

    source_uri: str
    destination: str
    settings: PackSettings
    storage: StorageSpec = StorageSpec()
    workers: int = 0  # threads that decode; 0: one a core
    tmp: Path | None = None  # folder for temporary files; None: TMPDIR


def pack(
    job: PackJob, on_progress: Callable[[Progress], None] = lambda progress: None
) -> PackResult:
    """Pack ``job.source_uri`` into ``job.destination``.

    ``DataError`` for images that are missing or broken, ``ConfigError`` for a destination that holds another data set or settings that make no
    sense, ``StorageError`` from the stores and the disk.
    """
    store = open_store(job.destination, job.storage)
    if (packed := _already_packed(store, job)) is not None:
        return PackResult(packed, True)
    source = _open(job)
    _check_not_the_source(store, source)
    store.write(
        _PROBE_KEY, b""
    )  # a destination that refuses is found before hours of decoding, not after
    if (path := store.local_path(INDEX_KEY)) is not None:
        remove_leftovers(path.parent)
    try:
        with _temporary_folder(job.tmp) as folder:
            index = _pack_rows(store, source, job, folder, on_progress)
    except BaseException:
        with suppress(StorageError):  # the error that led here matters more
            store.delete(_PROBE_KEY)
        _remove_if_empty(store)
        raise
    store.delete(_PROBE_KEY)
    return PackResult(index, False)


def _pack_rows(
    store: ObjectStore,
    source: Source,
    job: PackJob,
    folder: Path,
    on_progress: Callable[[Progress], None],
) -> Index:
    rows = Rows(source, job.settings, folder, on_progress)
    try:
        rows.read(job.workers)
        classes = rows.classes.classes()
        shard_bytes = job.settings.shard_bytes or shard_bytes_for(
            rows.num_rows, prod(rows.image_shape)
        )
        writer = ShardWriter(
            store, rows.image_shape, folder, shard_bytes, has_labels=classes is not None
        )
        try:
            for images, labels in rows.shuffled():
                writer.append(images, labels)
            packed_source = PackedSource(canonical_uri(job.source_uri), source.kind, source.num_bytes, rows.num_read, rows.num_skipped,
                                         tuple(rows.skipped), dict(sorted(source.ignored.items())), source.signature)  # fmt: skip
            index = Index(
                rows.image_shape,
                rows.num_rows,
                writer.finish(),
                classes,
                packed_source,
                job.settings,
                _packed_by(),
            )
            _delete_leftovers(store, index)
            write_index(store, index)
        except BaseException:  # also Ctrl-C
            writer.discard()
            raise
    finally:
        rows.close()
    return index


def _open(job: PackJob) -> Source:
    return open_source(job.source_uri, job.storage, job.settings.split, job.settings.seed)


def _check_not_the_source(store: ObjectStore, source: Source) -> None:
    """Raise ``ConfigError`` if shards would be written among the images, where deleting a data set would delete the images."""
    path = store.local_path(INDEX_KEY)
    destination = store.uri if path is None else str(path.parent.resolve())
    if destination.rstrip("/") == source.uri.rstrip("/"):
        raise ConfigError(
            f"DEST is the folder of the images, {source.uri}; expected another folder, for example {source.uri.rstrip('/')}-packed"
        )


def _already_packed(store: ObjectStore, job: PackJob) -> Index | None:
    """The index at the destination when the same job made it, None when there is none; ``ConfigError`` for any other."""
    if store.stat(INDEX_KEY) is None:
        return None
    try:
        index = read_index(store)
    except DataError as error:
        raise ConfigError(
            f"{store.uri} holds a data set already, with a damaged index ({error}); {_REMEDY}"
        ) from None
    uri = canonical_uri(job.source_uri)
    if index.source.uri != uri:
        raise ConfigError(
            f"{store.uri} holds a data set packed from {index.source.uri}; expected an empty DEST to pack {uri}: {_REMEDY}"
        )
    for name, wanted in vars(job.settings).items():
        if (found := getattr(index.options, name)) != wanted:
            option = name.replace("_", "-")
            raise ConfigError(
                f"{store.uri} holds a data set packed from the same source with {option} {found}, not {wanted}; {_REMEDY}"
            )
    if index.source.kind not in ("keras", "synthetic") and (
        change := _change(index.source, _open(job))
    ):
        raise ConfigError(f"{store.uri} was packed from {uri} {change}: {_REMEDY}")
    return index


def _change(packed: PackedSource, now: Source) -> str | None:
    """How the source differs from the one packed, for a message; None when it does not."""
    if packed.num_bytes != now.num_bytes:
        return f"when that had {packed.num_bytes or 0:,} bytes; found {now.num_bytes or 0:,} now"
    if packed.signature is not None and packed.signature != now.signature:
        return f"before that was changed: still {packed.num_bytes or 0:,} bytes, but files were written, renamed or replaced since"
    return None


def _delete_leftovers(store: ObjectStore, index: Index) -> None:
    """Shards of an earlier packing that was killed before its index was written."""
    names = {shard.name for shard in index.shards} | {
        shard.labels.name for shard in index.shards if shard.labels
    }
    for found in list(store.list("shard-")):
        if SHARD_NAME.fullmatch(found.key) and found.key not in names:
            store.delete(found.key)


@contextmanager
def _temporary_folder(parent: Path | None) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="dcgan-pack-", dir=parent)
    except OSError as error:
        where = parent or tempfile.gettempdir()
        raise StorageError(
            f"{where}: no temporary folder can be made there ({error.strerror}); choose another with --tmp"
        ) from None
    with folder as name:
        yield Path(name)


def _remove_if_empty(store: ObjectStore) -> None:
    """After a failure, do not leave an empty folder where there was none."""
    path = store.local_path(INDEX_KEY)
    if path is not None:
        with suppress(OSError):  # other files are in it
            path.parent.rmdir()


def _packed_by() -> str:
    try:
        return f"dcgan-train {metadata.version('dcgan-train')}"
    except metadata.PackageNotFoundError:
        return "unknown"
