"""Explain why Ray ended a run: the worker, and the reason inside Ray's errors."""

from typing import Any

import ray

from job.config.errors import DcganError
from job.config.spec import WorkerSpec

REMEDY = (
    "Run the same command to resume from the last checkpoint, or with -v to see the workers' output"
)


class TrainingCrashed(DcganError):
    """The worker group died more often than ``workers.max_restarts`` allows."""


def raise_failure(fitting: Any, workers: WorkerSpec) -> None:
    """Raise ``TrainingCrashed`` if ``fit`` failed, naming the worker and the cause."""
    try:
        ray.get(fitting)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        failures = getattr(cause, "worker_failures", None)
        if not failures:
            raise TrainingCrashed(
                f"Ray ended the run: {type(cause).__name__}: {_short(cause)}. {REMEDY}"
            ) from error
        rank, failure = next(iter(failures.items()))
        raise TrainingCrashed(
            f"training crashed more than workers.max_restarts ({workers.max_restarts}) times;"
            f" at last worker {rank}: {type(failure).__name__}: {_short(failure)}. {REMEDY}"
        ) from error


def _short(error: BaseException) -> str:
    """Return the first and the last line of an error's text.

    Ray's begin with the event and end, after tracebacks, with the reason.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    return " ... ".join(dict.fromkeys((lines[0], lines[-1]))).rstrip(".")
