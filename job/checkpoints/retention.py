"""Retention: keep the newest checkpoints, the best, pinned ones and those at round steps.

Removes the rest, and the leftovers of killed saves. Only a checkpoint that is whole by the listing
counts as kept, so the last good one is never removed. Unreadable, quarantined and pinned ones are
not touched.
"""

import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice

from job.checkpoints.best import best_of
from job.checkpoints.checkpoints import Checkpoints, Folder
from job.checkpoints.manifest import NAME, BadManifest, Manifest
from job.config.spec import CheckpointSpec
from job.storage.store import ObjectMissing

log = logging.getLogger("dcgan.checkpoint")

Known = dict[tuple[int, str], Manifest | None]
"""Manifests read so far, by step and tag; None for an unreadable one."""


def prune(
    checkpoints: Checkpoints,
    spec: CheckpointSpec,
    committed: int | None = None,
    check_owner: Callable[[], None] = lambda: None,
    known: Known | None = None,
) -> None:
    """Remove checkpoints that are not kept, and folders without a manifest.

    The step just ``committed`` stays, even if it is older than the kept ones: after a rollback.
    Only the holder of the lease may call this; ``check_owner``, called before each removal, raises
    if that is another job.

    Reads only the manifests that it needs: of the newest, of candidates for removal, and with
    ``keep_best`` all. The caller keeps ``known`` between saves, so that none is read twice.
    """
    folders = checkpoints.folders()
    usable = [folder for folder in folders if folder.is_committed and not folder.is_quarantined]
    known = {} if known is None else known
    for key in known.keys() - {_key(folder) for folder in usable if _key(folder)[1]}:
        del known[key]
    whole = partial(_whole, checkpoints, known)
    kept: set[int | None] = {folder.step for folder in islice(filter(whole, usable), spec.keep)}
    if not kept:  # no good checkpoint yet: a person decides
        return
    newest = next(filter(None, map(whole, usable)))
    if best := best_of(newest.metrics):
        kept.add(best.step)
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
            check_owner()
            checkpoints.delete(folder)
    for folder in folders:
        if not folder.is_committed and not folder.is_pinned:
            check_owner()
            checkpoints.delete(folder)


def _whole(checkpoints: Checkpoints, known: Known, folder: Folder) -> Manifest | None:
    """Return the manifest of a checkpoint that is whole by the listing; else None."""
    key = _key(folder)
    if key not in known:
        try:
            known[key] = dataclasses.replace(
                checkpoints.manifest(folder.step), model={}, settings={}, versions={}
            )
        except (BadManifest, ObjectMissing) as error:
            log.warning("checkpoint skipped: %s", error)
            known[key] = None
    manifest = known[key]
    return manifest if manifest and folder.damage(manifest) is None else None


def _key(folder: Folder) -> tuple[int, str]:
    """Return step and tag of the manifest; some stores have no tags."""
    return folder.step, folder.objects[NAME].etag
