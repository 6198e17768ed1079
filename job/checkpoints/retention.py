"""Which checkpoints stay: the newest, those at round steps, pinned ones and the best. Removes the rest, and what killed saves left.

Only a checkpoint that is whole by the listing counts among those kept, so the last good one is never removed. What cannot be parsed, what is
quarantined and what is pinned is not touched.
"""

import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice

from job.checkpoints.checkpoints import Checkpoints, Folder
from job.checkpoints.manifest import NAME, BadManifest, Manifest
from job.config.spec import CheckpointSpec
from job.storage.store import ObjectMissing

log = logging.getLogger("dcgan.checkpoint")

Known = dict[tuple[int, str], Manifest | None]
"""Manifests read so far, by step and tag; None for one that cannot be read."""


def prune(
    checkpoints: Checkpoints,
    spec: CheckpointSpec,
    committed: int | None = None,
    fence: Callable[[], None] = lambda: None,
    known: Known | None = None,
) -> None:
    """Remove what is not kept, and folders without a manifest.

    The step that was just ``committed`` stays, also where it is older than those kept: a run that went back is there now. Only the lease's holder may
    call it; ``fence`` raises where that is another job by now, and is asked before each removal.

    Reads only the manifests that decide something: of the newest, of what may be removed, and with ``keep_best`` of all. What is in ``known``, which
    the caller keeps from one save to the next, is not read again.
    """
    folders = checkpoints.folders()
    usable = [folder for folder in folders if folder.is_committed and not folder.is_quarantined]
    known = {} if known is None else known
    for key in known.keys() - {_key(folder) for folder in usable if _key(folder)[1]}:
        del known[key]
    whole = partial(_whole, checkpoints, known)
    kept: set[int | None] = {folder.step for folder in islice(filter(whole, usable), spec.keep)}
    if not kept:  # nothing good is there yet: leave everything to a person
        return
    if spec.keep_best:
        scored = [
            manifest
            for manifest in map(whole, usable)
            if manifest and spec.best_by in manifest.metrics
        ]
        scored.sort(key=lambda manifest: (manifest.metrics[spec.best_by], -manifest.step))
        kept |= {manifest.step for manifest in scored[: spec.keep_best]}
    for folder in usable:
        is_round = spec.keep_every_steps and folder.step % spec.keep_every_steps == 0
        if (
            folder.step not in kept | {committed}
            and not is_round
            and not folder.is_pinned
            and whole(folder)
        ):
            fence()
            checkpoints.delete(folder)
    for folder in folders:
        if not folder.is_committed and not folder.is_pinned:
            fence()
            checkpoints.delete(folder)


def _whole(checkpoints: Checkpoints, known: Known, folder: Folder) -> Manifest | None:
    """The manifest of a checkpoint that is whole by the listing; None for any other."""
    key = _key(folder)
    if key not in known:
        try:
            known[key] = dataclasses.replace(
                checkpoints.manifest(folder.step), model={}, settings={}, versions={}
            )
        except (BadManifest, ObjectMissing) as error:
            log.warning("checkpoint passed over: %s", error)
            known[key] = None
    manifest = known[key]
    return manifest if manifest and folder.damage(manifest) is None else None


def _key(folder: Folder) -> tuple[int, str]:
    """Step and tag of the manifest; not every store has tags."""
    return folder.step, folder.objects[NAME].etag
