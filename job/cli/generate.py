"""``dcgan-train generate``."""

import os
from typing import TYPE_CHECKING

import click

from job.cli.options import Number, storage_options
from job.cli.output import say
from job.config.errors import ConfigError
from job.config.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from job.config.storage import StorageSpec
    from job.synthesis.plan import IndexRange, Plan
    from job.synthesis.request import Request

    Begin = Callable[[Plan], list[IndexRange]]
    OnPart = Callable[[IndexRange], None]

MAX_INDEX = 2**48  # far below where the counter of the latents would wrap
PARTS = ("png", "tar", "parquet", "shards")  # made in parts


@click.command()
@click.argument("checkpoint")
@click.option(
    "--num", "num_images", type=click.IntRange(1, MAX_INDEX), required=True, help="How many images."
)
@click.option(
    "--out",
    "destination",
    required=True,
    help="Where to: a folder or its URI; for npz, grid, gif and mp4 also a file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*PARTS, "npz", "grid", "gif", "mp4"]),
    default="png",
    show_default=True,
    help="Parts, which a second run completes: png (single files), tar (WebDataset), parquet"
    " (Hugging Face), shards (packed, to train on); or one .npz, picture, GIF or MP4.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed; another one gives other images.",
)
@click.option(
    "--start",
    type=click.IntRange(0, MAX_INDEX),
    default=0,
    show_default=True,
    help="Index of the first image.",
)
@click.option(
    "--part-images",
    type=click.IntRange(64),
    help="Images in a part, a multiple of 64. Default: by their size.",
)
@click.option(
    "--workers",
    "num_workers",
    type=click.IntRange(0, 100_000),
    default=0,
    show_default=True,
    help="Processes that make parts under Ray, one core each, here or in the cluster that"
    " RAY_ADDRESS names; 0: this process, on all cores.",
)
@click.option(
    "--truncation",
    type=Number(0, 100, min_open=True),
    help="Cut the latents off at this many standard deviations: fewer odd images, less variety.",
)
@click.option(
    "--interpolate",
    "num_between",
    type=click.IntRange(0, 1000),
    help="Images between each two: a strip for each two in a grid, or a GIF or MP4 from one to the"
    " next.",
)
@click.option(
    "--best",
    "is_best",
    is_flag=True,
    help="Of a run folder, take the checkpoint with the best score instead of the newest.",
)
@click.option(
    "--mark/--no-mark",
    "is_marked",
    default=True,
    show_default=True,
    help="Mark the images as synthetic (IPTC digital source type).",
)
@click.option(
    "--class",
    "class_names",
    multiple=True,
    metavar="NAME",
    help="Make this class only, by name or number; several are made in turn. Default: classes as"
    " often as in the training data.",
)
@click.option("--balanced", is_flag=True, help="Make all classes in turn, equally often.")
@click.option("--license", "license_id", help="Licence of the images for the data card: cc0-1.0.")
@storage_options
def generate(
    checkpoint: str,
    num_images: int,
    destination: str,
    form: str,
    seed: int,
    start: int,
    part_images: int | None,
    num_workers: int,
    truncation: float | None,
    num_between: int | None,
    is_best: bool,
    is_marked: bool,
    class_names: tuple[str, ...],
    balanced: bool,
    license_id: str | None,
    storage: "StorageSpec",
) -> None:
    """Make synthetic images with the generator of CHECKPOINT (or of a run folder: its newest).

    The same seed and index give the same image, however many are made at a time.
    """
    if not destination.strip() or not checkpoint.strip():
        raise ConfigError(
            "CHECKPOINT or --out is empty; expected a URI or a path (an unset shell variable?)"
        )
    if license_id is not None and not (license_id.strip() and license_id.isprintable()):
        raise ConfigError(f"--license is {license_id!r}; expected one line, such as cc0-1.0")
    if is_best:
        from job.checkpoints.origin import best_uri

        checkpoint = best_uri(checkpoint, storage)
    if class_names and balanced:
        raise ConfigError(
            f"--class is {class_names[0]} with --balanced; expected one of them: several --class"
            " are made in turn, equally often"
        )
    from job.storage.paths import absolute_uri
    from job.synthesis.request import Request

    request = Request(
        checkpoint=absolute_uri(checkpoint),
        destination=absolute_uri(destination),
        form=form,
        num_images=num_images,
        start=start,
        seed=seed,
        part_images=part_images,
        truncation=truncation,
        marked=is_marked,
        license=license_id,
        class_names=class_names,
        balanced=balanced,
        storage=storage,
    )
    if form in PARTS and num_between is None:
        _make_parts(request, num_workers)
    else:
        _write_files(request, num_workers, num_between)


def _write_files(request: "Request", num_workers: int, num_between: int | None) -> None:
    """Write ``request`` in a format of one file."""
    form, start, num_images = request.form, request.start, request.num_images
    for option, value in (
        ("--interpolate", num_between if form in PARTS else None),
        ("--part-images", request.part_images),
        ("--workers", num_workers or None),
    ):
        if value is not None:
            others = "grid, gif or mp4" if option == "--interpolate" else ", ".join(PARTS)
            raise ConfigError(
                f"{option} is {value} with --format {form}; expected it with {others} only"
            )
    from job.synthesis.writers import WALKS, open_destination, write_images

    out = open_destination(
        form,
        request.destination,
        request.storage,
        num_images,
        start,
        is_marked=request.marked,
        num_between=num_between,
    )
    _load_quietly()
    from job.synthesis.images import image_blocks
    from job.synthesis.interpolation import interpolated_blocks
    from job.synthesis.maker import plan_of_source
    from job.synthesis.source import load_generator
    from job.telemetry.quiet import quiet_stderr

    with quiet_stderr():  # TensorFlow looks for GPUs now, and says so
        source = load_generator(request.checkpoint, request.storage)
    plan = plan_of_source(request, source)
    classes, truncation = plan.class_plan, plan.truncation
    indices = source.generator, plan.seed, num_images, start
    if num_between is None:
        blocks = image_blocks(*indices, truncation=truncation, classes=classes)
    else:
        blocks = interpolated_blocks(
            *indices, num_between, is_loop=form in WALKS, truncation=truncation, classes=classes
        )
    labels = classes.labels(start, num_images) if classes and form == "npz" else None
    written = write_images(out, blocks, labels, len(classes.turn) if classes else 0)
    say(f"{counted(num_images, 'image')} of {source.uri} (step {source.step}): {written}")


def _make_parts(request: "Request", num_workers: int) -> None:
    """Make the missing parts of ``request``, here or on workers, and complete the set."""
    from job.cli.progress_bar import progress_bar
    from job.synthesis.completion import complete
    from job.synthesis.parts import begin, is_finished

    store = request.open()
    done = 0
    missing: list[IndexRange] = []
    with progress_bar() as advance:

        def begin_plan(plan: "Plan") -> "list[IndexRange]":
            nonlocal done
            missing[:] = begin(store, plan)
            done = plan.num_images - sum(part.stop - part.start for part in missing)
            if done:
                images = counted(plan.num_images, "image")
                say(f"{store.uri}: {done:,} of {images} are there", err=True)
            return missing

        def on_part(part: "IndexRange") -> None:
            nonlocal done
            done += part.stop - part.start
            advance("Making", done, request.num_images)

        plan = (_make_on_workers if num_workers else _make_here)(
            request, num_workers, begin_plan, on_part
        )
    if missing or not is_finished(store):
        complete(store, plan)
    say(f"{counted(plan.num_images, 'image')} of {plan.checkpoint} (step {plan.step}): {store.uri}")


def _make_here(request: "Request", _: int, begin: "Begin", on_part: "OnPart") -> "Plan":
    _load_quietly()
    from job.synthesis.maker import PartMaker
    from job.telemetry.quiet import quiet_stderr

    with quiet_stderr():
        maker = PartMaker(request.checkpoint, request.storage)
    plan = maker.plan(request)
    maker.make(plan, request.destination, begin(plan), on_part)
    return plan


def _make_on_workers(
    request: "Request", num_workers: int, begin: "Begin", on_part: "OnPart"
) -> "Plan":
    from job.config.host import ensure_home

    ensure_home()
    from job.config.spec import WorkerSpec
    from job.launch.generation import generate_on_workers  # takes a second: Ray

    def note(line: str) -> None:
        say(line, err=True)

    return generate_on_workers(request, WorkerSpec(count=num_workers), begin, on_part, note)


def _load_quietly() -> None:
    """Load TensorFlow without its lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from job.telemetry.quiet import quiet_stderr

    with quiet_stderr():
        import job.synthesis.images  # noqa: F401
