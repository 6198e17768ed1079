"""The request of a user of ``generate``: checked before TensorFlow is loaded, then made a plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.data.index import ImageClass
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.synthesis.classes import labels_in_turn
from job.synthesis.parts import check_plan, find_plan
from job.synthesis.plan import (
    BLOCK_IMAGES,
    MAX_PART_PNGS,
    MAX_PARTS,
    MAX_PNGS,
    Plan,
    default_part_images,
)


@dataclass(frozen=True)
class Request:
    """Images ``start ... start + num_images - 1`` of ``checkpoint`` as parts at ``destination``.

    ``part_images`` is None for a default by format and size of the images.
    """

    checkpoint: str
    destination: str
    form: str
    num_images: int
    start: int = 0
    seed: int = 0
    part_images: int | None = None
    truncation: float | None = None
    marked: bool = True
    license: str | None = None
    class_names: tuple[str, ...] = ()
    balanced: bool = False
    storage: StorageSpec = StorageSpec()

    def open(self) -> ObjectStore:
        """Return the store; ``ConfigError`` if it holds other files, or images of other options."""
        if self.part_images and (
            self.part_images % BLOCK_IMAGES or self.num_images > MAX_PARTS * self.part_images
        ):
            raise ConfigError(
                f"--part-images is {self.part_images}; expected a multiple of {BLOCK_IMAGES}, and"
                f" at most {MAX_PARTS:,} parts"
            )
        if self.form == "png" and (
            self.num_images > MAX_PNGS or (self.part_images or 0) > MAX_PART_PNGS
        ):
            raise ConfigError(
                f"--num is {self.num_images} and --part-images {self.part_images} with --format"
                f" png; expected at most {MAX_PNGS:,} images, {MAX_PART_PNGS} in a part: use"
                " --format tar"
            )
        store = open_store(self.destination, self.storage)
        if (found := find_plan(store)) is not None:
            wanted = self._options()
            if self.part_images is None:
                del wanted["part_images"]
            check_plan(store, found, wanted)
        return store

    def plan(
        self, shape: tuple[int, ...], classes: Sequence[ImageClass] = (), **origin: Any
    ) -> Plan:
        """Return the plan for a loaded generator, which makes images of ``shape`` [H, W, C].

        ``origin`` has the plan's fields about the checkpoint.
        """
        options = self._options()
        options["part_images"] = self.part_images or default_part_images(
            self.form, self.num_images, prod(shape)
        )
        return Plan(
            **options,
            **origin,
            image_shape=shape,
            classes=tuple(each.name for each in classes),
            class_rows=tuple(each.num_rows for each in classes),
            labels=labels_in_turn(
                classes, self.class_names, balanced=self.balanced, uri=self.checkpoint
            ),
        )

    def _options(self) -> dict[str, Any]:
        return {
            "format": self.form,
            "num_images": self.num_images,
            "start": self.start,
            "seed": self.seed,
            "part_images": self.part_images,
            "truncation": self.truncation,
            "marked": self.marked,
            "license": self.license,
        }
