"""The entry of one worker process: train a run from its newest good checkpoint, and save it.

The same under Ray, in a test that starts two processes, or alone. ``TF_CONFIG`` must name the
workers before ``run`` is called.
"""

import time
from collections.abc import Callable

from job.config.spec import RunSpec
from job.config.versions import versions
from job.gan.networks import build_networks
from job.run.process_records import Records
from job.run.stores import RunStores
from job.run.summary import Summary, write_summary
from job.training import snapshot
from job.training.checkpointer import open_checkpointer
from job.training.context import RunContext, open_context
from job.training.divergence import Diverged
from job.training.input import Input
from job.training.listeners import Driver
from job.training.loop import Loop
from job.training.multi_step import build_train_call
from job.training.open_reader import open_reader
from job.training.resume import Resume
from job.training.rollback import current_noise_stream, roll_back
from job.training.samples import save_progress
from job.training.scoring import open_scorer
from job.training.topology import Topology


def run(
    spec: RunSpec,
    stores: RunStores,
    topology: Topology,
    driver: Driver,
    check_ownership: Callable[[], None] = lambda: None,
    records: Records | None = None,
) -> None:
    """Train ``spec`` until its last step or until asked to stop; return when everything is saved.

    ``check_ownership`` raises if the run folder belongs to another job by now; it is called before
    a checkpoint is committed. The chief keeps the run's history in ``records``.
    """
    with open_context(spec, stores, topology, driver, check_ownership, records) as context:
        while True:
            try:
                if _train(context):
                    context.listeners.on_phase("done")
                context.listeners.on_finish()
                return
            except Diverged as diverged:
                roll_back(context, diverged)


def _train(context: RunContext) -> bool:
    """Train from the newest good checkpoint. Return whether the last step was reached."""
    spec, listeners = context.spec, context.listeners
    listeners.on_phase("start")
    with context.strategy.scope():
        networks = build_networks(spec, len(context.classes))
    resume = Resume(context)
    restored = resume.restore()
    # A new phase after each agreement: its limit is for one wait for the chief, not for their sum.
    listeners.on_phase("start")
    resumed = restored.manifest if restored else None
    noise_stream = current_noise_stream(context, resumed)
    listeners.on_phase("start")
    if restored:
        snapshot.put(networks, restored.parts, spec)
    first_step = resumed.step if resumed else 0
    own_step = resumed.step if resumed and restored and restored.is_own else None
    started = time.monotonic()
    scorer = open_scorer(context, resumed)
    scored_by = scorer.basis if scorer else None
    with open_checkpointer(context, networks, noise_stream, own_step, scored_by) as checkpointer:
        if own_step is not None:
            listeners.on_resume(own_step)
        train_call = build_train_call(spec, context.strategy, networks, noise_stream)
        with open_reader(context, first_step) as reader:
            loop = Loop(
                context,
                networks,
                train_call,
                checkpointer,
                resumed,
                resume.mark_succeeded,
                scorer,
            )
            images = Input(
                spec,
                context.topology,
                reader,
                context.order,
                context.schedule,
                first_step,
                len(context.classes),
            )
            is_done = loop.run(images)
    if context.topology.is_chief and is_done:
        _write_results(context, first_step, loop.step, time.monotonic() - started)
    return is_done


def _write_results(context: RunContext, first_step: int, last_step: int, seconds: float) -> None:
    """Write the progress GIF and ``summary.json``."""
    context.retry(lambda: save_progress(context.store))
    num_images = (last_step - first_step) * context.spec.training.global_batch_size
    summary = Summary(
        outcome="done",
        steps=last_step,
        resumed_from_step=first_step,
        images_per_second=num_images / seconds if num_images > 0 else None,
        seconds=seconds,
        world_size=context.topology.world_size,
        restarts=context.topology.restarts,
        versions=versions(),
    )
    context.retry(lambda: write_summary(context.store, summary))
