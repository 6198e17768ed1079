"""Check this machine: versions, processors, memory, GPUs, shared memory, temporary disk."""

import importlib.metadata
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from job.config.errors import ConfigError, StorageError
from job.config.host import is_local, usable_cores
from job.config.text import bytes_text, counted
from job.config.versions import versions
from job.doctor.check import Check, check, unchecked
from job.launch import machine
from job.telemetry.quiet import quiet_stderr
from job.telemetry.resources import available_memory, free_disk, shared_memory

MIN_MEMORY_BYTES = 2 * 10**9  # the driver, Ray's processes and one worker with a small network
MIN_SHM_BYTES = 256 * 2**20  # Ray's object store takes half of it; 64 MiB breaks NCCL (nccl#525)
MIN_TEMPORARY_BYTES = 10**9
_MAX_USED_SHARE = 0.95  # of the disk: Ray then refuses to write


def machine_checks(num_gpus: int | None, *, workers: bool) -> Iterator[Check]:
    """Yield the checks of this machine; a worker needs ``num_gpus``, None: not known.

    With ``workers`` those of another cluster are checked later.
    """
    yield check("versions", lambda: _versions("dcgan-train"))
    if is_local():
        yield from _framework(num_gpus)
    elif not workers:
        why = "the workers run in the cluster that RAY_ADDRESS names"
        yield unchecked("Keras and GPUs", why, "add --workers, where that cluster can be reached")
    yield Check("processors", "ok", counted(usable_cores(), "usable core"))
    if is_local():
        yield _memory(available_memory())
        yield shm_check("/dev/shm", shared_memory())
    yield check("temporary disk", lambda: _temporary_disk(_temporary_folder()))


def _versions(distribution: str) -> Check:
    """Return the installed versions, an error if the program's requirements name others."""
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    try:
        requirements = map(Requirement, importlib.metadata.requires(distribution) or ())
    except importlib.metadata.PackageNotFoundError:
        advice = "install it with its requirements: pip install -e ."
        return Check("versions", "warning", f"{found}; requirements are not known", advice)
    wrong = []
    for each in requirements:
        if each.marker and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(each.name)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        if version == "not installed" or not each.specifier.contains(version, prereleases=True):
            wrong.append(f"{each.name} is {version}, expected {each.specifier}")
    if wrong:
        advice = "install the packages of requirements.lock"
        return Check("versions", "error", ", ".join(wrong), advice, ConfigError.exit_code)
    return Check("versions", "ok", found)


def _framework(num_gpus: int | None) -> Iterator[Check]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with quiet_stderr():
            from job.training.inspection import inspect_framework

            framework = inspect_framework()
    except ImportError as error:
        advice = "install the packages of requirements.lock"
        yield Check("Keras", "error", f"cannot be loaded ({error})", advice, ConfigError.exit_code)
        return
    yield keras_check("Keras", framework.keras)
    with_driver = machine.num_gpus()
    found = ", ".join(framework.gpus) or "none"
    advice = (
        "install tensorflow[and-cuda] (requirements-gpu.lock) and a driver that is new enough for"
        " its CUDA"
    )
    if len(framework.gpus) < (num_gpus or 0):
        found = f"{found}; workers.gpus is {num_gpus}"
        yield Check("GPUs", "error", found, advice, ConfigError.exit_code)
    elif len(framework.gpus) < with_driver and num_gpus != 0:
        yield Check("GPUs", "warning", f"{found} for TensorFlow, {with_driver} for Ray", advice)
    else:
        yield Check("GPUs", "ok", found)


def keras_check(name: str, found: str) -> Check:
    """Return the check of Keras' version and backend, such as ``Keras 3.15.1 on tensorflow``."""
    if found.startswith("Keras 3.") and found.endswith(" on tensorflow"):
        return Check(name, "ok", found)
    advice = "install the packages of requirements.lock, and unset KERAS_BACKEND"
    expected = f"{found}; expected Keras 3 on tensorflow"
    return Check(name, "error", expected, advice, ConfigError.exit_code)


def shm_check(name: str, num_bytes: int | None) -> Check:
    """Return the check of the shared memory of one machine."""
    if num_bytes is None:
        return Check(name, "ok", "none on this system")
    if num_bytes < MIN_SHM_BYTES:
        return Check(
            name,
            "warning",
            f"{bytes_text(num_bytes)}; expected {bytes_text(MIN_SHM_BYTES)} or more: NCCL and Ray"
            " need it",
            "docker run --shm-size=1g; in the Helm chart workers.shmGiB",
        )
    return Check(name, "ok", bytes_text(num_bytes))


def _memory(num_bytes: int) -> Check:
    found = f"{bytes_text(num_bytes)} available"
    if num_bytes < MIN_MEMORY_BYTES:
        advice = "stop other programs, or raise the container's memory limit"
        expected = f"{found}; expected {bytes_text(MIN_MEMORY_BYTES)} or more"
        return Check("memory", "warning", expected, advice)
    return Check("memory", "ok", found)


def _temporary_folder() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


def _temporary_disk(folder: Path) -> Check:
    """Return the check of Ray's temporary folder: writable, and with room."""
    advice = "free some space, or set TMPDIR and RAY_TMPDIR to a folder on another disk"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        status = os.statvfs(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); {advice}") from None
    free = free_disk(folder)
    used = 1 - status.f_bavail / max(1, status.f_blocks)
    found = f"{bytes_text(free)} free in {folder}, {used:.0%} used"
    if free < MIN_TEMPORARY_BYTES or used > _MAX_USED_SHARE:
        return Check("temporary disk", "warning", found, advice)
    return Check("temporary disk", "ok", found)
