"""Checks before any process starts: stores, images, the run folder. No Ray, no TensorFlow."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from job.checkpoints.best import best_of
from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.checkpoints.origin import open_origin
from job.config.errors import ConfigError, DataError, StorageError
from job.config.host import is_local
from job.config.load import to_yaml
from job.config.spec import RESUME_MODES, DataSpec, RunSpec, TrainingSpec
from job.config.versions import versions
from job.config.waits import LOOP_ATTEMPTS
from job.data.index import Index, read_index
from job.data.order import worker_positions
from job.quality.kernel import MIN_ROWS
from job.quality.keys import CLASSIFIER
from job.run import attempts
from job.run.layout import CONFIGURATION
from job.run.lease import Lease, acquire
from job.run.stores import RunStores, open_stores
from job.run.summary import finished_step
from job.storage.paths import local_path
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.streaming.budget import check_budget
from job.streaming.cache_folder import CacheFolder
from job.tracking.service import check_tracking
from job.training.automatic import without_auto
from job.training.early_stop import is_early_stop
from job.training.identity import changes, check_identity, check_images, order_of
from job.training.schedule import Schedule, plan


@dataclass(frozen=True)
class Preflight:
    """A run that can start from ``resumed`` (None: from step 0), or that is finished already."""

    spec: RunSpec
    stores: RunStores
    index: Index
    schedule: Schedule
    resumed: Manifest | None
    is_finished: bool

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Settings that have changed since the checkpoint was saved: (was, is)."""
        return changes(self.spec, self.resumed) if self.resumed else {}


def check(spec: RunSpec, stores: RunStores | None = None) -> Preflight:
    """Check a run by its index and its newest manifest; raise the ``DcganError`` found.

    Creates nothing but the cache folder. ``stores`` are those of an earlier check; None opens them.
    """
    check_tracking(spec.tracking)
    spec = with_absolute_paths(spec)
    stores = stores or open_stores(spec)
    index = read_index(stores.data)
    check_images(spec, index)
    spec = without_auto(spec, index.num_rows)
    _check_shards(stores.data, index)
    if stores.data.local_path(index.shards[0].name) is None:
        _check_cache(spec, index)
    resumed = _newest(Checkpoints(stores.folder))
    is_own = resumed is not None
    if resumed:
        if spec.checkpoints.resume == "never":
            raise ConfigError(
                f"{spec.uri}: holds checkpoints, the newest of step {resumed.step}, and"
                " checkpoints.resume is never; expected a run folder without any: choose another"
                " (uri), or resume from them with --resume auto"
            )
        check_identity(spec, index, resumed, spec.uri)
        spec = _with_length_of(spec, resumed)
    else:
        resumed = _origin(spec, index)
    spec = with_features(spec, stores.data, index)
    schedule = plan(spec, index.num_rows)
    is_past = resumed is not None and resumed.step > schedule.total_steps
    if resumed and is_past and not is_own:
        raise ConfigError(
            f"{spec.checkpoints.resume}: is at step {resumed.step:,}, but this run ends at step"
            f" {schedule.total_steps:,} (training.steps or training.epochs): raise that, or name an"
            " earlier checkpoint"
        )
    is_finished = is_past or (
        resumed is not None
        and resumed.step == finished_step(stores.folder)
        and (
            resumed.step == schedule.total_steps
            or is_early_stop(spec, best_of(resumed.metrics), resumed.step)
        )
    )
    return Preflight(spec, stores, index, schedule, resumed, is_finished)


def _with_length_of(spec: RunSpec, resumed: Manifest) -> RunSpec:
    """Return ``spec`` with the run folder's ``training.min_steps``, unless the user set another.

    A folder of an earlier version has none, and so the same command ends at the same step.
    """
    if spec.training.min_steps != TrainingSpec().min_steps:
        return spec
    began_with = resumed.settings.get("training.min_steps")
    min_steps = began_with if isinstance(began_with, int) else 0
    return spec.replace(training=spec.training.replace(min_steps=min_steps))


def with_features(spec: RunSpec, data: ObjectStore, index: Index) -> RunSpec:
    """Return ``spec`` with ``quality.features`` resolved: ``auto`` is classifier or none.

    Raise ``ConfigError`` for a classifier that does not exist, or too few images to score.
    """
    features = spec.quality.features
    has_classifier = data.stat(CLASSIFIER) is not None
    if features == "auto":
        is_scored = has_classifier and index.num_rows >= MIN_ROWS
        features = "classifier" if is_scored else "none"
    elif features != "none" and index.num_rows < MIN_ROWS:
        raise ConfigError(
            f"quality.features is {features}, and {spec.data.uri} has {index.num_rows} images;"
            f" expected at least {MIN_ROWS}, or quality.features: none"
        )
    elif features == "classifier" and not has_classifier:
        raise ConfigError(
            f"quality.features is classifier, and {spec.data.uri} has none; run `dcgan-train"
            f" quality fit {spec.data.uri}` first, or set quality.features: none"
        )
    _check_unscored(spec, features)
    return spec.replace(quality=spec.quality.replace(features=features))


def _check_unscored(spec: RunSpec, features: str) -> None:
    """Raise ``ConfigError`` if the run has no scores and a key needs them."""
    for name in ("stop_after_steps", "rollback_ratio"):
        value = getattr(spec.quality, name)
        if features == "none" and value is not None:
            raise ConfigError(
                f"quality.{name} is {value:g}, and the run has no scores; run `dcgan-train quality"
                f" fit {spec.data.uri}` first, set quality.features, or leave quality.{name} unset"
            )


def _newest(checkpoints: Checkpoints) -> Manifest | None:
    """Return the newest manifest whose parts are complete by the listing, else the newest."""
    newest: Manifest | None = None
    for folder, manifest in checkpoints.readable():
        if folder.damage(manifest) is None:
            return manifest
        newest = newest or manifest
    return newest


def _origin(spec: RunSpec, index: Index) -> Manifest | None:
    """Return the checkpoint of another run folder that ``checkpoints.resume`` names."""
    if spec.checkpoints.resume in RESUME_MODES:
        return None
    origin = open_origin(spec.checkpoints.resume, spec.storage)
    _, found = next(origin.checkpoints.readable(origin.step), (None, None))
    if found is None:
        raise StorageError(
            f"{spec.checkpoints.resume}: no committed checkpoint there; expected a run folder or"
            " RUN/checkpoints/step-... (checkpoints.resume)"
        )
    check_identity(spec, index, found, spec.checkpoints.resume)
    return found


def _check_shards(store: ObjectStore, index: Index) -> None:
    """Check by one listing that each shard exists in its size; hashes are checked on reading."""
    sizes = {entry.key: entry.num_bytes for entry in store.list("shard-")}
    for shard in index.shards:
        if (found := sizes.get(shard.name)) != shard.num_bytes:
            what = "is missing" if found is None else f"has {found} bytes"
            raise DataError(
                f"{store.uri.rstrip('/')}/{shard.name}: {what}; expected {shard.num_bytes} bytes by"
                " index.json: restore it, or pack the images again with"
                " `dcgan-train data pack SOURCE DEST`"
            )


def _check_cache(spec: RunSpec, index: Index) -> None:
    """Check that the cache can hold what the workers read at once, and is usable if local."""
    order = order_of(spec, index)
    min_workers = spec.workers.min_workers  # with more of them each reads less
    workers = [worker_positions(order, worker, min_workers) for worker in range(min_workers)]
    check = partial(
        check_budget,
        spec.data.cache_bytes,
        order,
        index,
        steps_per_call=spec.training.steps_per_call,
        with_labels=spec.model.conditional,
    )
    if not is_local():  # where the workers will be is not known yet: each could be alone, at best
        for positions in workers:
            check([positions])
        return
    check(workers)
    with CacheFolder(Path(spec.data.cache_dir)).locked():
        pass


@contextmanager
def leased(preflight: Preflight, note: Callable[[str], None]) -> Iterator[Lease | None]:
    """Hold the run folder's lease, if configured; raise ``LeaseHeld`` if another job holds it."""
    spec = preflight.spec
    if not spec.checkpoints.lease_seconds:
        yield None
        return
    # A separate connection with short timeouts: a renewal must not wait behind an upload.
    soon = spec.checkpoints.lease_seconds / 6
    storage = spec.storage.replace(
        connect_timeout_seconds=min(spec.storage.connect_timeout_seconds, soon),
        read_timeout_seconds=min(spec.storage.read_timeout_seconds, soon),
    )
    seconds, wait_seconds = spec.checkpoints.lease_seconds, spec.checkpoints.lease_wait_seconds
    store = open_store(spec.uri, storage, max_attempts=LOOP_ATTEMPTS)
    with acquire(store, seconds, wait_seconds=wait_seconds, note=note) as lease:
        yield lease


def record(preflight: Preflight) -> attempts.Attempt:
    """Write ``run.yaml``, the resolved configuration, and ``starts/TIME.json``, this attempt."""
    spec, store, index = preflight.spec, preflight.stores.folder, preflight.index
    head = [f"# {name}: {version}" for name, version in versions().items()]
    head += [f"# data fingerprint: {index.fingerprint}", f"# images: {index.num_rows}"]
    store.write(CONFIGURATION, ("\n".join(head) + "\n" + to_yaml(spec)).encode())
    return attempts.begin(
        store,
        {
            "step": preflight.resumed.step if preflight.resumed else 0,
            "target_steps": preflight.schedule.total_steps,
            "preset": spec.preset,
            "data": {
                "uri": spec.data.uri,
                "fingerprint": index.fingerprint,
                "num_images": index.num_rows,
                "image_shape": list(index.image_shape),
            },
            "changed": {
                key: {"was": was, "is": value} for key, (was, value) in preflight.changes.items()
            },
            "versions": versions(),
            "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        },
    )


def with_absolute_paths(spec: RunSpec) -> RunSpec:
    """Return ``spec`` with absolute paths: workers run in other folders than the command."""
    data = spec.data.replace(uri=_absolute(spec.data.uri), cache_dir=_cache_dir(spec.data))
    resume = spec.checkpoints.resume
    checkpoints = spec.checkpoints.replace(
        resume=resume if resume in RESUME_MODES else _absolute(resume)
    )
    kind, separator, uri = spec.quality.features.partition(":")  # such as file:my.keras
    features = f"{kind}:{_absolute(uri)}" if separator and uri else kind
    quality = spec.quality.replace(features=features)
    return spec.replace(
        uri=_absolute(spec.uri), data=data, checkpoints=checkpoints, quality=quality
    )


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(local_path(uri))


def _cache_dir(data: DataSpec) -> str:
    """Return the absolute cache path; its default's home folder need not exist without a cache."""
    try:
        return _absolute(data.cache_dir)
    except ConfigError as error:
        if data.uri.startswith("s3://"):
            raise ConfigError(f"data.cache_dir is {error}") from None
        return data.cache_dir
