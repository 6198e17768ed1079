"""Which checkpoints stay: the newest, those at round steps, pinned ones and the best. Removes the rest, and what killed saves left.

Only a checkpoint that is whole by the listing counts among those kept, so the last good one is never removed. What cannot be parsed, what is
quarantined and what is pinned is not touched.
"""

import math
from collections.abc import Callable, Sequence

from job.checkpoints.checkpoints import Checkpoints, Folder
from job.checkpoints.manifest import Manifest
from job.config.spec import CheckpointSpec


def kept_steps(found: Sequence[tuple[Folder, Manifest]], spec: CheckpointSpec) -> set[int]:
    """Steps of whole checkpoints (``found``, newest first) that stay."""
    manifests = [manifest for _, manifest in found]
    scores = {manifest.step: manifest.metrics.get(spec.best_by, math.nan) for manifest in manifests}
    best = sorted((step for step, score in scores.items() if math.isfinite(score)), key=lambda step: (scores[step], -step))
    every = spec.keep_every_steps
    return {
        *(manifest.step for manifest in manifests[: spec.keep]),
        *(manifest.step for manifest in manifests if every and manifest.step % every == 0),
        *best[: spec.keep_best],
        *(folder.step for folder, _ in found if folder.is_pinned),
    }


def prune(checkpoints: Checkpoints, spec: CheckpointSpec, committed: int | None = None, fence: Callable[[], None] = lambda: None) -> None:
    """Remove what is not kept, and folders without a manifest.

    The step that was just ``committed`` stays, also where it is older than those kept: a run that went back is there now. Only the lease's holder may
    call it; ``fence`` raises where that is another job by now, and is asked before each removal.
    """
    whole = [(folder, manifest) for folder, manifest in checkpoints.readable() if folder.damage(manifest) is None]
    kept = kept_steps(whole, spec)
    for folder, _ in whole:
        if folder.step not in kept and folder.step != committed:
            fence()
            checkpoints.delete(folder)
    if not whole:  # nothing good stands yet: leave what there is to whoever wants to look at it
        return
    for folder in checkpoints.folders():
        if not folder.is_committed and not folder.is_pinned:
            fence()
            checkpoints.delete(folder)
