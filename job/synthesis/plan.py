"""The plan of a set of generated images: all that decides its files, and how it is cut into parts.

Loads no TensorFlow: a command checks its arguments before that takes seconds. Knows no store.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from job.config.validation import shown
from job.data.json_fields import Items, Matching, Sha256, Text, Whole, WrongField, validate_fields
from job.data.shard_writer import shard_bytes_for
from job.synthesis.classes import ClassPlan

BLOCK_IMAGES = 64  # made together; the last bits of an image can depend on it
MAX_INDEX = 2**48  # far below where the counter of the latents would wrap
MAX_PARTS = 100_000

SUFFIXES: dict[str, str] = {"png": ".png", "tar": ".tar", "parquet": ".parquet", "shards": ".u8"}
_MAX_PART_IMAGES, _PART_BYTES = 8192, 64 << 20  # of a tar or Parquet file; bytes of pixels
MAX_PNGS, MAX_PART_PNGS = 100_000, 256  # ``generation.json`` lists each file


class IndexRange(NamedTuple):
    """The images ``start ... stop - 1``."""

    start: int
    stop: int

    @property
    def name(self) -> str:
        """Return the name of the part, without suffix: its first and its last index."""
        return f"shard-{self.start:09d}-{self.stop - 1:09d}"


def png_name(index: int) -> str:
    """Return the name of an image's PNG: names sort by index."""
    return f"{index:09d}.png"


@dataclass(frozen=True)
class Plan:
    """A set of generated images, as ``generation.json`` records it."""

    format: Annotated[str, Matching("png|tar|parquet|shards", "png, tar, parquet or shards")]
    num_images: Annotated[int, Whole(1, MAX_INDEX)]
    start: Annotated[int, Whole(0, MAX_INDEX)]
    seed: Annotated[int, Whole(0)]
    part_images: Annotated[int, Whole(BLOCK_IMAGES)]
    checkpoint: Text  # its URI, for people; ``generator`` identifies it
    step: Annotated[int, Whole(0)]
    generator: Sha256  # over the hashes of the checkpoint's parts that it is made of
    image_shape: Items[Annotated[int, Whole(1)]]
    data_fingerprint: Sha256 | None = None  # of the images that it was trained on
    truncation: float | None = None
    classes: Items[Text] = ()
    class_rows: Items[Annotated[int, Whole(0)]] = ()  # of each class in the training data
    labels: Items[Annotated[int, Whole(0)]] = ()  # of --class or --balanced, made in turn
    marked: bool = True
    license: Text | None = None

    @property
    def stop(self) -> int:
        """Return the index after the last image."""
        return self.start + self.num_images

    @property
    def class_plan(self) -> ClassPlan | None:
        """Return the images' classes; None for a generator without."""
        if not self.classes:
            return None
        return ClassPlan(self.classes, self.class_rows, self.labels, self.seed)

    def parts(self) -> Iterator[IndexRange]:
        """Yield the parts in order: they meet at multiples of ``part_images``."""
        start = self.start
        while start < self.stop:
            stop = min(start - start % self.part_images + self.part_images, self.stop)
            yield IndexRange(start, stop)
            start = stop


def plan_of(fields: dict[str, Any]) -> Plan:
    """Return the validated plan in ``fields``; raise ``WrongField`` naming the invalid one."""
    plan = validate_fields(Plan, fields)
    if plan.num_images > MAX_PARTS * plan.part_images or len(plan.image_shape) != 3:
        raise WrongField(
            f"part_images is {plan.part_images} and image_shape {list(plan.image_shape)};"
            f" expected at most {MAX_PARTS:,} parts, and height, width and channels"
        )
    num_classes = len(plan.classes)
    if len(plan.class_rows) != num_classes or any(label >= num_classes for label in plan.labels):
        raise WrongField(
            f"class_rows has {len(plan.class_rows)} entries and labels is {shown(plan.labels)};"
            f" expected {num_classes} as of classes, and labels below that"
        )
    return plan


def default_part_images(form: str, num_images: int, image_bytes: int) -> int:
    """Return how many images a part has: whole blocks, never more than ``MAX_PARTS`` parts."""
    if form == "png":
        wanted = MAX_PART_PNGS
    elif form == "shards":
        wanted = shard_bytes_for(num_images, image_bytes) // image_bytes
    else:
        wanted = min(_MAX_PART_IMAGES, _PART_BYTES // image_bytes)
    wanted = max(wanted, -(-num_images // MAX_PARTS))
    return max(1, -(-wanted // BLOCK_IMAGES)) * BLOCK_IMAGES


OPTIONS = {
    "format": "--format",
    "num_images": "--num",
    "start": "--start",
    "seed": "--seed",
    "part_images": "--part-images",
    "truncation": "--truncation",
    "labels": "--class",
    "marked": "--mark",
    "license": "--license",
    "generator": "CHECKPOINT",
}


_NOT_COMPARED = ("checkpoint", "step", "data_fingerprint")  # ``generator`` decides


def difference(found: Plan, wanted: dict[str, Any]) -> str | None:
    """Return the first option that differs, and how, for a message; None if the files agree."""
    values = dataclasses.asdict(found)
    for key, value in wanted.items():
        if key not in _NOT_COMPARED and values[key] != value:
            if key == "generator":
                return f"CHECKPOINT {found.checkpoint} (step {found.step})"
            return f"{OPTIONS.get(key, key)} {_option_text(values[key])}, not {_option_text(value)}"
    return None


def _option_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
