"""Check the workers of a run by what each of them found (``job.training.inspection``)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from job.config.errors import ConfigError, DcganError, StorageError
from job.config.spec import RunSpec
from job.config.text import bytes_text, counted
from job.config.versions import versions
from job.doctor.check import Check, failed
from job.doctor.machine import keras_check, shm_check
from job.doctor.run import cache_check, memory_check
from job.launch.estimate import memory_bytes

if TYPE_CHECKING:  # Ray and TensorFlow
    from job.launch.inspection import Inspection
    from job.training.inspection import WorkerFacts

_SLOW_SECONDS = 0.1  # of an all-reduce of 32 bytes, which each call ends with


def worker_checks(spec: RunSpec, inspection: "Inspection", data_bytes: int) -> Iterator[Check]:
    """Yield the checks of all workers; ``data_bytes`` of shards are fetched, 0 if none are."""
    facts = dict(sorted(inspection.facts.items()))
    hosts = sorted({each.host for each in facts.values()})
    found = f"{len(facts)} on {counted(len(hosts), 'host')}: {', '.join(hosts)}"
    if len(facts) < spec.workers.min_workers:
        answered = f"{len(facts)} of {counted(spec.workers.min_workers, 'worker')} answered in time"
        yield _missing("workers", inspection.failure, answered)
    else:
        yield Check("workers", "ok", found)
    if not facts:
        return
    yield _versions(facts)
    yield _first_failure(
        [keras_check("Keras of the workers", each.framework.keras) for each in facts.values()]
    )
    yield _gpus(facts)
    yield _data(facts)
    yield from _resources(spec, facts, data_bytes)
    yield _all_reduce(facts, inspection.failure)


def _versions(facts: Mapping[int, "WorkerFacts"]) -> Check:
    here = versions()
    wrong = [
        f"{name} is {version} on worker {rank} ({each.host}), {here.get(name)} here"
        for rank, each in facts.items()
        for name, version in each.versions.items()
        if version != here.get(name)
    ]
    if wrong:
        advice = "use the same image, or install requirements.lock, on all hosts"
        return Check(
            "versions of the workers", "error", "; ".join(wrong[:3]), advice, ConfigError.exit_code
        )
    return Check("versions of the workers", "ok", "the same on all workers as here")


def _gpus(facts: Mapping[int, "WorkerFacts"]) -> Check:
    kinds = {each.framework.gpus for each in facts.values()}
    if len(kinds) == 1:
        each_has = ", ".join(next(iter(kinds))) or "no GPU"
        return Check("GPUs of the workers", "ok", f"each worker has {each_has}")
    found = "; ".join(
        f"worker {rank} ({each.host}) has {', '.join(each.framework.gpus) or 'none'}"
        for rank, each in facts.items()
    )
    if len({len(gpus) for gpus in kinds}) == 1:
        return Check("GPUs of the workers", "warning", found, "expect the speed of the slowest")
    advice = "give each worker the same GPUs (workers.gpus)"
    return Check("GPUs of the workers", "error", found, advice, ConfigError.exit_code)


def _data(facts: Mapping[int, "WorkerFacts"]) -> Check:
    for rank, each in facts.items():
        if each.data_error:
            error = StorageError(f"worker {rank} ({each.host}): {each.data_error}")
            return failed("data on the workers", error)
    return Check("data on the workers", "ok", "each reads the index and a shard")


def _resources(
    spec: RunSpec, facts: Mapping[int, "WorkerFacts"], data_bytes: int
) -> Iterator[Check]:
    """Yield the checks of memory and disks, each of the worker with the least of it."""
    on_host = {each.host: 0 for each in facts.values()}
    for each in facts.values():
        on_host[each.host] += 1
    process, gpu = memory_bytes(spec)
    least = min(facts.values(), key=lambda each: each.memory / on_host[each.host])
    num_local = on_host[least.host]
    found = f"{counted(num_local, 'worker')} on {least.host} of about {bytes_text(process)}"
    # Measured by a worker that had loaded TensorFlow: the need is counted too high, not too low.
    yield memory_check("memory of the workers", found, process * num_local, least.memory)
    known = [each for each in facts.values() if each.framework.gpu_memory is not None]
    if gpu and known:
        smallest = min(each.framework.gpu_memory or 0 for each in known)
        yield memory_check("memory of the GPUs", "each GPU", gpu, smallest)
    shm = [each.shm for each in facts.values() if each.shm is not None]
    yield shm_check("/dev/shm of the workers", min(shm, default=None))
    if data_bytes:
        disk = min(each.cache_disk for each in facts.values())
        yield cache_check("cache disk of the workers", spec, data_bytes, disk)


def _all_reduce(facts: Mapping[int, "WorkerFacts"], failure: DcganError | None) -> Check:
    for rank, each in facts.items():
        if each.error:
            return failed("all-reduce", ConfigError(f"worker {rank} ({each.host}): {each.error}"))
    times = [each.all_reduce_seconds for each in facts.values()]
    waiting = [rank for rank, seconds in zip(facts, times, strict=True) if seconds is None]
    if waiting or failure:
        on_hosts = ", ".join(sorted({facts[rank].host for rank in waiting}))
        return _missing("all-reduce", failure, f"not finished by the workers on {on_hosts} in time")
    slowest = max(seconds for seconds in times if seconds is not None)
    found = f"{slowest * 1000:.1f} ms over {counted(len(facts), 'worker')}"
    if slowest > _SLOW_SECONDS:
        return Check("all-reduce", "warning", found, "check the network between the workers")
    return Check("all-reduce", "ok", found)


def _missing(name: str, failure: DcganError | None, found: str) -> Check:
    """Return the error of workers that did not answer, by Ray's reason if there is one."""
    if failure:
        return failed(name, failure, "see the logs of the workers' hosts")
    return Check(
        name,
        "error",
        found,
        "open all TCP ports between the workers (TensorFlow and Ray choose them at run time), in"
        " firewalls and NetworkPolicies; raise workers.start_timeout_seconds for a slow start",
        DcganError.exit_code,
    )


def _first_failure(checks: list[Check]) -> Check:
    return next((each for each in checks if each.state != "ok"), checks[0])
