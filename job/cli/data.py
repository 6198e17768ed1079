"""``dcgan-train data``: pack images into shards, and check that shards are whole."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from job.cli.options import LocalPath, storage_options
from job.cli.output import say
from job.cli.progress_bar import progress_bar
from job.config.errors import DataError
from job.config.text import counted

if TYPE_CHECKING:
    from job.config.storage import StorageSpec
    from job.data.index import Index

_FITS = ("crop", "pad", "stretch", "exact")
_MAX_SIDE = 4096  # 48 MiB of raw pixels an image


class ImageSize(click.ParamType[str]):
    """``64`` or ``48x64`` (height x width), as ``48x64``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        match = re.fullmatch(r"([1-9]\d{0,8})(?:x([1-9]\d{0,8}))?", str(value).lower())
        if not match:
            self.fail(
                f"{value!r} is not an image size; expected one number (64) or height x width"
                " (48x64)",
                param,
                ctx,
            )
        if max(int(match[1]), int(match[2] or 0)) > _MAX_SIDE:
            self.fail(
                f"{value!r} is too large an image size; expected at most {_MAX_SIDE} a side",
                param,
                ctx,
            )
        return f"{match[1]}x{match[2] or match[1]}"


class ByteSize(click.ParamType[int]):
    """``64MiB``, ``1GB`` or a number of bytes, in bytes."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from job.config.fields import BYTES_EXAMPLES, NumBytes
        from job.config.validation import InvalidValue, validate

        try:
            return validate(NumBytes, str(value))
        except InvalidValue:
            text = f"{value!r} is not a number of bytes; expected for example {BYTES_EXAMPLES}"
            self.fail(text, param, ctx)


@click.group()
def data() -> None:
    """Pack images for training, and check packed images."""


@data.command()
@click.argument("source")
@click.argument("dest")
@click.option(
    "--size",
    type=ImageSize(),
    help="N or HEIGHTxWIDTH, at most 4096 a side. Default: the size of the images, if all agree.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="1 grey, 3 colour. Default: 1 when all images are grey, else 3.",
)
@click.option(
    "--fit",
    type=click.Choice(_FITS),
    default="crop",
    show_default=True,
    help="Images of another size: crop (short side to size, then the centre), pad (black"
    " borders), stretch, or exact (refuse).",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the shuffle (and of synthetic images).",
)
@click.option(
    "--shard-bytes",
    type=ByteSize(),
    help="Size of a shard, such as 8MiB. Default: 256KiB to 16MiB, for about 2,000 shards.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    help="Part of an IDX folder, .npz file or Keras data set. Default: train.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images of SOURCE.")
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Leave broken images out, count them and list them in index.json, instead of stopping.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="Threads that decode. Default: one per core.",
)
@click.option(
    "--tmp",
    type=LocalPath(file_okay=False),
    help="Folder for temporary files as large as the result. Default: TMPDIR.",
)
@storage_options
def pack(
    source: str,
    dest: str,
    channels: str | None,
    workers: int,
    tmp: Path | None,
    storage: "StorageSpec",
    **settings: Any,
) -> None:
    """Pack the images of SOURCE into shards at DEST (a folder or s3://bucket/prefix).

    SOURCE is a folder, tar or zip of images (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM, AVIF;
    sub-folders are classes), an IDX file or a folder of them, .npy, .npz,
    s3://bucket/prefix, keras:fashion_mnist (mnist, cifar10, cifar100), or synthetic:garments[:N],
    which needs no network.
    """
    from job.data.index import PackSettings
    from job.packing.pack import PackJob
    from job.packing.pack import pack as run_pack

    pack_settings = PackSettings(channels=int(channels) if channels else None, **settings)
    with progress_bar() as advance:
        result = run_pack(
            PackJob(source, dest, pack_settings, storage, workers, tmp),
            lambda progress: advance(
                "Reading" if progress.phase == "read" else "Writing", progress.done, progress.total
            ),
        )
    say(
        f"{'Already packed' if result.was_packed else 'Packed'}: {_summary(result.index)} at {dest}"
    )
    if not result.was_packed:
        _report_left_out(result.index)


@data.command()
@click.argument("uri")
@storage_options
def verify(uri: str, storage: "StorageSpec") -> None:
    """Check size and SHA-256 of every shard of the data set at URI."""
    from job.data.index import read_index
    from job.data.verify import verify as find_damage
    from job.storage.uri import open_store

    store = open_store(uri, storage)
    index = read_index(store)
    total = sum(
        shard.num_bytes + (4 * shard.num_rows if shard.labels else 0) for shard in index.shards
    )
    done = 0
    with progress_bar() as advance:

        def count(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            advance("Verifying", done, total)

        damaged = find_damage(store, index, count)
    for uri_of_file, problem in damaged:
        say(f"{uri_of_file}: {problem}")
    if damaged:
        raise DataError(
            f"{store.uri}: {counted(len(damaged), 'damaged or missing file')}; expected none: copy"
            " the data set again, or pack it again"
        )
    say(f"Whole: {_summary(index)} at {uri}")


def _summary(index: "Index") -> str:
    shape = "x".join(map(str, index.image_shape))
    classes = (
        f", {len(index.classes)} class{'' if len(index.classes) == 1 else 'es'}"
        if index.classes
        else ""
    )
    megabytes = index.num_rows * index.row_bytes / 1e6
    return (
        f"{counted(index.num_rows, 'image')} {shape}{classes},"
        f" {counted(len(index.shards), 'shard')}, {megabytes:,.1f} MB,"
        f" fingerprint {index.fingerprint}"
    )


def _report_left_out(index: "Index") -> None:
    source = index.source
    if source.num_skipped:
        say(
            f"Skipped {counted(source.num_skipped, 'broken image')}, listed in index.json;"
            f" the first: {source.skipped[0].name}: {source.skipped[0].reason}"
        )
    if source.ignored:
        from job.sources.formats import UNREAD_SUFFIXES, describe_counts, describe_unread

        if unread := describe_unread(source.ignored):
            say(f"Left out {unread}")
        if others := {
            kind: count for kind, count in source.ignored.items() if kind not in UNREAD_SUFFIXES
        }:
            say(
                f"Ignored {counted(sum(others.values()), 'file')} not read as images"
                f" ({describe_counts(others)})"
            )
