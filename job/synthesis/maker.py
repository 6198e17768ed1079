"""Make the parts of a plan with one generator: in this process, or in one of many workers.

with PartMaker(checkpoint, storage) as maker:
    maker.make(plan, "s3://bucket/synthetic", parts)
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from job.config.storage import StorageSpec
from job.storage.scratch import scratch_folder
from job.storage.uri import open_store
from job.synthesis.formats import encode, write_part
from job.synthesis.images import Sampler
from job.synthesis.parts import commit
from job.synthesis.plan import BLOCK_IMAGES, IndexRange, Plan
from job.synthesis.request import Request
from job.synthesis.source import Source, load_generator


class PartMaker:
    """A generator, loaded once from a checkpoint or a run folder's newest."""

    def __init__(
        self, checkpoint: str, storage: StorageSpec, num_threads: int | None = None
    ) -> None:
        """Load the generator; ``num_threads`` make images, by default one a core."""
        self.source = load_generator(checkpoint, storage)
        self._storage, self._num_threads = storage, num_threads
        self._sampler: tuple[Plan, Sampler] | None = None

    def plan(self, request: Request) -> Plan:
        """Return the plan of ``request`` for this generator."""
        return plan_of_source(request, self.source)

    def make(
        self,
        plan: Plan,
        destination: str,
        parts: Sequence[IndexRange],
        on_part: Callable[[IndexRange], None] = lambda part: None,
    ) -> None:
        """Write and commit ``parts``; ``on_part`` is called after each.

        The next part is made while the last one is uploaded.
        """
        store = open_store(destination, self._storage)
        sampler = self._sampler_of(plan)

        def upload(part: IndexRange, paths: list[Path]) -> IndexRange:
            commit(store, part, paths)
            for path in paths:
                path.unlink()
            return part

        with scratch_folder() as folder, ThreadPoolExecutor(1, "upload-part") as uploads:
            blocks = sampler.blocks(parts, lambda block: encode(block, plan))
            uploading = None
            for part in parts:
                num_blocks = (part.stop - 1) // BLOCK_IMAGES - part.start // BLOCK_IMAGES + 1
                paths = write_part(folder, plan, part, islice(blocks, num_blocks))
                if uploading is not None:
                    on_part(uploading.result())
                uploading = uploads.submit(upload, part, paths)
            if uploading is not None:
                on_part(uploading.result())

    def _sampler_of(self, plan: Plan) -> Sampler:
        """Return the sampler of the last plan if it is the same: a new one is traced again."""
        if self._sampler is None or self._sampler[0] != plan:
            sampler = Sampler(
                self.source.generator,
                plan.seed,
                truncation=plan.truncation,
                classes=plan.class_plan,
                num_threads=self._num_threads,
            )
            self._sampler = plan, sampler
        return self._sampler[1]


def plan_of_source(request: Request, source: Source) -> Plan:
    """Return the plan of ``request`` for a loaded generator."""
    return request.plan(
        source.generator.output_shape[1:],
        source.classes,
        checkpoint=source.uri,
        step=source.step,
        generator=source.fingerprint,
        data_fingerprint=source.data_fingerprint,
    )
