"""Train a run from its configuration to the end of its folder: checks, lease, records, Ray.

checked = train_run(spec, ProgressBar(), on_plan=print)
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from job.config.host import ensure_home
from job.config.spec import RunSpec
from job.launch import machine, signals
from job.launch.fork_server import fork_server
from job.training import preflight
from job.training.preflight import Preflight

if TYPE_CHECKING:
    from job.launch.trainer import View


def train_run(
    spec: RunSpec,
    view: "AbstractContextManager[View]",
    on_plan: Callable[[Preflight], None] = lambda checked: None,
    on_wait: Callable[[str], None] = lambda line: None,
    *,
    verbose: bool = False,
) -> Preflight:
    """Train ``spec`` to its last step, from its newest checkpoint; return what was checked.

    ``on_plan`` gets the checks before anything starts, and once more if they change while this job
    waits for another one to release the run folder; ``on_wait`` gets lines about that. Raise the
    ``DcganError`` that ended the run, or ``KeyboardInterrupt`` after a last checkpoint.
    """
    checked = preflight.check(spec)
    on_plan(checked)
    if checked.is_finished:
        return checked
    ensure_home()
    with fork_server(spec.workers) as pythons:
        with signals.held_signals():
            from job.launch import outcome, trainer  # these take a second, mostly Ray
            from job.run.process_records import process_records
            from job.telemetry import logs

        stores = checked.stores
        with preflight.leased(checked, on_wait) as lease:
            # Again: another job may have trained until it released the folder.
            before, checked = checked, preflight.check(spec, stores)
            if checked.resumed != before.resumed:
                on_plan(checked)
            if not checked.is_finished:
                machine.check_machine(checked.spec)
                start = preflight.record(checked)
                logs.configure("info" if verbose else "warning")
                ending = outcome.record_outcome(stores.loop, start)
                with (
                    process_records(checked.spec, stores.loop, start.stamp, "driver"),
                    ending,
                    view as shown,
                ):
                    trainer.train(
                        checked.spec,
                        shown,
                        lease,
                        pythons=pythons,
                        stamp=start.stamp,
                        verbose=verbose,
                    )
    return checked
