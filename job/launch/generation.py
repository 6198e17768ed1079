"""Generate on the workers of a Ray cluster: each makes parts, handed out by index range.

One worker loads the checkpoint and makes the plan: the driver needs no TensorFlow, and the other
workers load the same step. A worker whose process or node is lost is started again and repeats
its parts: they are pure functions of the plan, so every index is still there once.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from job.config.errors import DcganError
from job.config.spec import WorkerSpec
from job.config.storage import StorageSpec
from job.launch.cluster import cluster
from job.launch.fork_server import fork_server
from job.launch.machine import WORKER_ENV
from job.synthesis.plan import IndexRange, Plan
from job.synthesis.request import Request

_MAX_CLAIM = 16  # parts that a worker gets at a time: it makes one while it uploads the last
_CLAIMS_PER_WORKER = 4  # at least, so that slow workers get fewer


class GenerationFailed(DcganError):
    """A worker died more often than it is started again."""


def generate_on_workers(
    request: Request,
    workers: WorkerSpec,
    begin: Callable[[Plan], Sequence[IndexRange]],
    on_part: Callable[[IndexRange], None],
    note: Callable[[str], None],
    *,
    verbose: bool = False,
) -> Plan:
    """Make the parts that ``begin`` returns on ``workers.count`` workers; return the plan.

    ``on_part`` is called after each part, ``note`` with a line when a wait begins. Raises the
    ``DcganError`` that ended a worker.
    """
    with (
        fork_server(workers) as pythons,
        cluster(workers, lambda what: note(f"waiting for {what}"), verbose=verbose),
    ):
        maker = ray.remote(
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            max_restarts=workers.max_restarts,
            max_task_retries=-1,
            runtime_env=pythons.runtime_env(WORKER_ENV, "tensorflow"),
        )(_Maker)
        threads = max(1, round(workers.cpus))
        first = maker.remote(request.checkpoint, request.storage, threads)
        note("waiting for the workers to start")
        plan: Plan = _result(first.plan.remote(request))
        claims = list(_claims(begin(plan), workers.count))
        others = range(min(workers.count, len(claims)) - 1)
        makers = [first, *(maker.remote(plan.checkpoint, request.storage, threads) for _ in others)]
        _hand_out(makers, plan, request.destination, claims, on_part)
    return plan


def _claims(parts: Sequence[IndexRange], num_workers: int) -> Iterator[Sequence[IndexRange]]:
    """Yield ranges of parts, in order of index."""
    size = max(1, min(_MAX_CLAIM, len(parts) // (_CLAIMS_PER_WORKER * num_workers)))
    for first in range(0, len(parts), size):
        yield parts[first : first + size]


def _hand_out(
    makers: Sequence[Any],
    plan: Plan,
    destination: str,
    claims: Sequence[Sequence[IndexRange]],
    on_part: Callable[[IndexRange], None],
) -> None:
    """Give every worker a claim, and another one when it is done, until none is left."""
    running = {
        worker.make.remote(plan, destination, claim): (worker, claim)
        for worker, claim in zip(makers, claims, strict=False)
    }
    left = iter(claims[len(running) :])
    while running:
        [done], _ = ray.wait(list(running), num_returns=1)
        _result(done)
        worker, claim = running.pop(done)
        for part in claim:
            on_part(part)
        if (following := next(left, None)) is not None:
            running[worker.make.remote(plan, destination, following)] = (worker, following)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DcganError):
            raise error.cause from None  # without Ray's traceback
        raise
    except ray.exceptions.RayActorError as error:
        reason = str(error).strip().splitlines()[0]
        raise GenerationFailed(
            f"a worker died too often: {reason.rstrip('.')}. Run the same command again: it makes"
            " only the missing parts"
        ) from error


class _Maker:
    """The actor's class: one generator in one process."""

    def __init__(self, checkpoint: str, storage: StorageSpec, num_threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from job.synthesis.images import one_thread_per_block

        one_thread_per_block()
        from job.synthesis.maker import PartMaker

        self._maker = PartMaker(checkpoint, storage, num_threads)

    def plan(self, request: Request) -> Plan:
        return self._maker.plan(request)

    def make(self, plan: Plan, destination: str, parts: Sequence[IndexRange]) -> None:
        self._maker.make(plan, destination, parts)
