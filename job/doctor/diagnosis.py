"""All checks in their order: this machine, then the stores, the run, and its workers."""

from collections.abc import Callable, Iterator

from job.config.errors import DcganError
from job.config.spec import RunSpec
from job.doctor.check import Check, failed, unchecked
from job.doctor.machine import machine_checks
from job.doctor.run import run_checks
from job.doctor.stores import clock_checks, data_checks, run_folder_checks
from job.doctor.workers import worker_checks
from job.training import preflight


def diagnose(
    load: Callable[[], RunSpec] | None, *, workers: bool, note: Callable[[str], None]
) -> Iterator[Check]:
    """Yield each check when it is done.

    ``load`` returns the run, None if only this machine is checked. With ``workers`` its workers are
    started; ``note`` gets a text whenever a wait begins.
    """
    spec, error = None, None
    try:
        spec = preflight.with_absolute_paths(load()) if load else None
    except DcganError as caught:
        error = caught
    yield from machine_checks(spec.workers.gpus if spec else None, workers=workers)
    if error:
        yield failed("configuration", error)
    if spec is None:
        return
    yield Check("configuration", "ok", f"a run in {spec.uri} on {spec.data.uri}")
    stores = []
    for examine in (run_folder_checks, clock_checks, data_checks):
        for found in examine(spec):
            yield found
            stores.append(found)
    checked, data_bytes = None, 0
    if any(each.state == "error" for each in stores):
        yield unchecked("run", "the stores cannot be used", "correct the errors above")
    else:
        try:
            checked = preflight.check(spec)
        except DcganError as caught:
            yield failed("run", caught)
    has_cluster = True
    if checked:
        for found in run_checks(checked):
            yield found
            has_cluster &= (found.name, found.state) != ("Ray", "error")
        if checked.stores.data.local_path(checked.index.shards[0].name) is None:
            data_bytes = sum(shard.num_bytes for shard in checked.index.shards)
    if workers and has_cluster:
        yield from _workers(checked.spec if checked else spec, data_bytes, note)
    elif workers:
        yield unchecked("workers", "there is no cluster for them", "correct the errors above")


def _workers(spec: RunSpec, data_bytes: int, note: Callable[[str], None]) -> Iterator[Check]:
    from job.launch.inspection import inspect_workers  # takes a second: Ray

    try:
        inspection = inspect_workers(spec, note)
    except DcganError as error:
        yield failed("workers", error)
        return
    yield from worker_checks(spec, inspection, data_bytes)


def exit_code(checks: list[Check]) -> int:
    """Return the exit code of the first error's kind, or 0."""
    return next((each.exit_code for each in checks if each.state == "error"), 0)
