"""Check a run as `train` would: data, checkpoints, lease, cache, Ray, memory, time."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from job.config.host import is_local, usable_cores
from job.config.spec import RunSpec
from job.config.text import bytes_text, counted
from job.doctor.check import Check, check
from job.launch import machine
from job.launch.estimate import MEMORY_ADVICE, memory_bytes, run_memory, time_text
from job.run.holder import MAX_BYTES, is_gone, parse_holder
from job.run.layout import LEASE
from job.storage.store import ObjectStore
from job.streaming.cache_folder import CacheFolder
from job.telemetry.resources import available_memory, free_disk
from job.telemetry.secrets import mask_secrets
from job.training.preflight import Preflight

_NO_CLUSTER = ".invalid"  # a host name that cannot exist (RFC 2606): the cluster is made later


def run_checks(checked: Preflight) -> Iterator[Check]:
    """Yield the checks of a run that is valid by its configuration, data and checkpoints."""
    spec = checked.spec
    yield _plan(checked)
    if checked.is_finished:
        return
    yield check("lease", lambda: _lease(checked.stores.loop))
    if checked.stores.data.local_path(checked.index.shards[0].name) is None:
        data_bytes = sum(shard.num_bytes for shard in checked.index.shards)
        yield check("cache disk", lambda: _cache_disk(spec, data_bytes))
    yield check("Ray", partial(_ray, spec))
    yield check("memory of the run", lambda: _memory(spec, available_memory()))
    yield Check("time", "ok", time_text(checked).removeprefix("time: "))


def _plan(checked: Preflight) -> Check:
    spec, schedule = checked.spec, checked.schedule
    step = checked.resumed.step if checked.resumed else 0
    if checked.is_finished:
        found = f"finished at step {step:,}: train would only print its results"
        return Check("run", "ok", found)
    found = (
        f"steps {step:,} to {schedule.total_steps:,} of {spec.training.global_batch_size} images"
        f" on {counted(spec.workers.count, 'worker')}"
    )
    return Check("run", "ok", found)


def _lease(store: ObjectStore) -> Check | str:
    if store.stat(LEASE) is None:
        return "free"
    holder = parse_holder(store.read_range(LEASE, 0, MAX_BYTES + 1), f"{store.uri}/{LEASE}")
    if is_gone(holder):
        return f"free: {holder} has ended"
    return Check(
        "lease",
        "warning",
        f"held by {holder}",
        f"stop that job, or choose another uri; if it died, train waits {holder.seconds:g} s",
    )


def _cache_disk(spec: RunSpec, data_bytes: int) -> Check | str:
    if not is_local():
        return "on the workers' hosts: --workers checks it"
    folder = CacheFolder(Path(spec.data.cache_dir))
    free = free_disk(folder.path) + folder.used_bytes()
    return cache_check("cache disk", spec, data_bytes, free)


def cache_check(name: str, spec: RunSpec, data_bytes: int, free: int) -> Check:
    """Return the check of the disk that the cache may fill with ``free`` bytes at most."""
    needed = min(spec.data.cache_bytes, data_bytes)
    found = f"{bytes_text(free)} for {bytes_text(needed)} of shards in {spec.data.cache_dir}"
    if free >= needed:
        return Check(name, "ok", found)
    advice = f"set data.cache_bytes below {bytes_text(free)}, or data.cache_dir to another disk"
    return Check(name, "warning", found, advice)


def _ray(spec: RunSpec) -> Check | str:
    if is_local():
        machine.check_machine(spec)
        cores, needed = usable_cores(), spec.workers.min_workers * spec.workers.cpus
        found = f"a private cluster on this machine for {counted(spec.workers.count, 'worker')}"
        if needed > cores:  # MIN_LOCAL_CORES are offered, even if there are fewer
            advice = "expect it to be slow, or lower workers.count or workers.cpus"
            found += f" with {needed:g} cores; {counted(cores, 'core')} usable"
            return Check("Ray", "warning", found, advice)
        return found
    address = mask_secrets(os.environ["RAY_ADDRESS"].strip())
    if address.rpartition("://")[2].partition("/")[0].partition(":")[0].endswith(_NO_CLUSTER):
        return f"not checked: RAY_ADDRESS is {address}, a cluster that is started later"
    from job.launch.inspection import inspect_cluster  # takes a second: Ray

    facts = inspect_cluster(spec.workers)
    found = (
        f"{address}: {counted(facts.num_nodes, 'node')}, room for"
        f" {counted(facts.room, 'worker')}, {'with' if facts.has_token else 'without'} a token"
    )
    if facts.room < spec.workers.min_workers:
        return Check(
            "Ray",
            "warning",
            f"{found}; the run needs {spec.workers.min_workers}",
            "add nodes, unless the cluster grows by itself within workers.start_timeout_seconds",
        )
    if not facts.has_token:
        advice = "set RAY_AUTH_MODE=token, or let only trusted programs reach it (docs/security.md)"
        return Check("Ray", "warning", found, advice)
    return found


def _memory(spec: RunSpec, available: int) -> Check | str:
    """Return the check of the estimate against the memory of this machine, if workers run here."""
    if not is_local():
        return f"{bytes_text(memory_bytes(spec)[0])} of each worker; --workers checks theirs"
    found, needed = run_memory(spec)
    return memory_check("memory of the run", found, needed, available)


def memory_check(name: str, found: str, needed: int, available: int) -> Check:
    """Return the check of ``needed`` bytes, estimated, against the ``available`` ones."""
    text = f"{found}; {bytes_text(available)} available"
    if needed <= available:
        return Check(name, "ok", text)
    return Check(name, "warning", f"{text}; expected {bytes_text(needed)}", MEMORY_ADVICE)
