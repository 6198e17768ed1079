"""``data pack``: from any source of images to shards and an index on any store, in bounded memory.

    source --decode, fit--> rows --scatter over temporary files--> shuffled rows
           --> shards --upload--> store, index.json last

The result depends on the source's content and the settings alone, not on the number of threads. The
destination is complete or has no index: a failure deletes the shards already uploaded.

    result = pack(PackJob("photos.zip", "s3://bucket/photos", PackSettings(size="64x64")))
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

from job.config.errors import ConfigError, DataError, StorageError
from job.config.storage import StorageSpec
from job.config.versions import versions
from job.data.croissant import KEY as CROISSANT_KEY
from job.data.index import INDEX_KEY, Index, PackedSource, PackSettings, read_index, write_index
from job.data.shard_writer import SHARD_NAME, ShardWriter, shard_bytes_for
from job.packing.describe import croissant_of
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
    """The data set at the destination; ``was_packed`` if it was there already."""

    index: Index
    was_packed: bool


@dataclass(frozen=True)
class PackJob:
    """Source, destination and options; ``settings`` decide the content, the rest does not."""

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

    ``DataError`` for missing or broken images, ``ConfigError`` for wrong settings or a destination
    that holds another data set, ``StorageError`` from the stores and the disk.
    """
    store = open_store(job.destination, job.storage)
    if (packed := _already_packed(store, job)) is not None:
        return PackResult(packed, True)
    source = _open(job)
    _check_not_the_source(store, source)
    store.write(_PROBE_KEY, b"")  # a destination that refuses is found before hours of decoding
    path = store.local_path(INDEX_KEY)
    if path is not None:
        remove_leftovers(path.parent)
    try:
        with _temporary_folder(job.tmp) as folder:
            index = _pack_rows(store, source, job, folder, on_progress)
    except BaseException:
        with suppress(StorageError):  # the first error is the one to report
            store.delete(_PROBE_KEY)
        if path is not None:
            with suppress(OSError):  # not empty: other files are in it
                path.parent.rmdir()
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
    with Rows(source, job.settings, folder, on_progress) as rows:
        rows.read(job.workers)
        classes, shape = rows.classes.classes(), rows.image_shape
        shard_bytes = job.settings.shard_bytes or shard_bytes_for(rows.num_rows, prod(shape))
        has_labels = classes is not None
        with ShardWriter(store, shape, folder, shard_bytes, has_labels) as writer:
            for images, labels in rows.shuffled():
                writer.append(images, labels)
            packed_source = PackedSource(
                uri=canonical_uri(job.source_uri),
                kind=source.kind,
                num_bytes=source.num_bytes,
                num_read=rows.num_read,
                num_skipped=rows.num_skipped,
                skipped=tuple(rows.skipped),
                ignored=dict(sorted(source.ignored.items())),
                signature=source.signature,
            )
            index = Index(
                image_shape=shape,
                num_rows=rows.num_rows,
                shards=writer.finish(),
                classes=classes,
                source=packed_source,
                options=job.settings,
                packed_by=f"dcgan-train {versions()['dcgan-train']}",
            )
            _delete_leftovers(store, index)
            store.write(CROISSANT_KEY, croissant_of(index, store.uri))
            write_index(store, index)
            return index


def _open(job: PackJob) -> Source:
    return open_source(job.source_uri, job.storage, job.settings.split, job.settings.seed)


def _check_not_the_source(store: ObjectStore, source: Source) -> None:
    """Raise ``ConfigError`` if shards would be written among the images.

    To delete the data set would delete the images.
    """
    path = store.local_path(INDEX_KEY)
    destination = store.uri if path is None else str(path.parent.resolve())
    if destination.rstrip("/") == source.uri.rstrip("/"):
        raise ConfigError(
            f"DEST is the folder of the images, {source.uri}; "
            f"expected another folder, for example {source.uri.rstrip('/')}-packed"
        )


def _already_packed(store: ObjectStore, job: PackJob) -> Index | None:
    """Return the index at the destination if the same job made it, None if there is none.

    ``ConfigError`` for any other.
    """
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
            f"{store.uri} holds a data set packed from {index.source.uri}; "
            f"expected an empty DEST to pack {uri}: {_REMEDY}"
        )
    for name, wanted in vars(job.settings).items():
        if (found := getattr(index.options, name)) != wanted:
            option = name.replace("_", "-")
            raise ConfigError(
                f"{store.uri} holds a data set packed from the same source with {option} {found}, "
                f"not {wanted}; {_REMEDY}"
            )
    if index.source.kind not in ("keras", "synthetic") and (
        change := _change(index.source, _open(job))
    ):
        raise ConfigError(f"{store.uri} was packed from {uri} {change}: {_REMEDY}")
    return index


def _change(packed: PackedSource, now: Source) -> str | None:
    """Return how the source differs from the one packed, for a message; None if it does not."""
    if packed.num_bytes != now.num_bytes:
        return f"when that had {packed.num_bytes or 0:,} bytes; found {now.num_bytes or 0:,} now"
    if packed.signature is not None and packed.signature != now.signature:
        return (
            f"before that was changed: still {packed.num_bytes or 0:,} bytes, "
            "but files were written, renamed or replaced since"
        )
    return None


def _delete_leftovers(store: ObjectStore, index: Index) -> None:
    """Delete the shards of an earlier packing that was killed before it wrote its index."""
    names = {shard.name for shard in index.shards}
    names |= {shard.labels.name for shard in index.shards if shard.labels}
    for found in list(store.list("shard-")):
        if SHARD_NAME.fullmatch(found.key) and found.key not in names:
            store.delete(found.key)


@contextmanager
def _temporary_folder(parent: Path | None) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="dcgan-pack-", dir=parent)
    except OSError as error:
        raise StorageError(
            f"{parent or tempfile.gettempdir()}: no temporary folder can be made there "
            f"({error.strerror}); choose another with --tmp"
        ) from None
    with folder as name:
        yield Path(name)
