"""The procedural images as a source: ``synthetic:garments[:N]``."""

from collections import Counter
from collections.abc import Iterator

from job.sources.garments import CLASS_NAMES, draw_garments
from job.sources.source import ImageBlock, ImageFile

_BLOCK_ROWS = 500


class GarmentSource:
    """``num_images`` garments of one seed, in ten classes."""

    kind = "synthetic"
    num_bytes = None
    signature = None
    class_names = CLASS_NAMES

    def __init__(self, num_images: int, seed: int) -> None:
        self.uri = f"synthetic:garments:{num_images}"
        self.num_images = num_images
        self.ignored: Counter[str] = Counter()
        self._seed = seed

    def items(self) -> Iterator[ImageFile | ImageBlock]:
        for start in range(0, self.num_images, _BLOCK_ROWS):
            yield ImageBlock(
                *draw_garments(self._seed, start, min(_BLOCK_ROWS, self.num_images - start))
            )
