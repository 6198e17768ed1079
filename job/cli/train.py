"""``dcgan-train train``."""

from typing import TYPE_CHECKING

import click

from job.cli.options import Sources, run_options
from job.cli.output import say
from job.cli.run_text import length_text, plan_text, result_lines, scores_text, stop_text
from job.config.errors import ConfigError

if TYPE_CHECKING:
    from job.config.spec import RunSpec
    from job.training.preflight import Preflight


@click.command()
@run_options()
@click.option(
    "--resume",
    metavar="auto|never|URI",
    help="Checkpoint to resume from (checkpoints.resume); a URI: of a run folder or checkpoint.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, print the resolved configuration and the plan, start nothing.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show what Ray and the workers print.")
def train(sources: Sources, resume: str | None, dry_run: bool, verbose: bool) -> None:
    """Train, or resume from the last checkpoint of the run folder.

    Starts a Ray cluster on this machine, or joins the one that RAY_ADDRESS names.
    """
    from job.config.load import load_run, to_yaml

    spec = load_run(*sources)
    if resume is not None:
        if not resume:
            raise ConfigError(
                "--resume is empty; expected auto, never, or the URI of a run folder or a"
                " checkpoint"
            )
        # As it is: a path may look like YAML.
        spec = spec.replace(checkpoints=spec.checkpoints.replace(resume=resume))
    if dry_run:
        from job.launch import machine
        from job.launch.estimate import time_text
        from job.training import preflight

        checked = preflight.check(spec)
        if not checked.is_finished:
            machine.check_machine(checked.spec)
        click.echo(to_yaml(checked.spec), nl=False)
        say(f"# {plan_text(checked)}")
        say(f"# {length_text(checked)}")
        say(f"# {scores_text(checked)}")
        if not checked.is_finished:
            say(f"# {time_text(checked)}")
        say(f"# not checked: {machine.unchecked(checked.spec)}")
        return
    train_run(spec, verbose=verbose)


def train_run(spec: "RunSpec", *, verbose: bool = False) -> None:
    """Check, train with a progress bar, and print where the results are."""
    from job.launch import machine
    from job.telemetry.progress import ProgressBar
    from job.training import preflight

    checked = preflight.check(spec)
    stores = checked.stores
    _say_plan(checked)
    if not checked.is_finished:
        from job.cli.outcome import record_outcome
        from job.config.host import ensure_home

        ensure_home()
        from job.launch import trainer  # takes a second: Ray
        from job.run.process_records import process_records
        from job.telemetry import logs

        try:
            with preflight.leased(checked, lambda line: say(line, err=True)) as lease:
                # Again: another job may have trained until it released the folder.
                before, checked = checked, preflight.check(spec, stores)
                if checked.resumed != before.resumed:
                    _say_plan(checked)
                if not checked.is_finished:
                    machine.check_machine(checked.spec)
                    start = preflight.record(checked)
                    logs.configure("info" if verbose else "warning")
                    ending = record_outcome(stores.loop, start)
                    with (
                        process_records(checked.spec, stores.loop, start.stamp, "driver"),
                        ending,
                        ProgressBar() as bar,
                    ):
                        trainer.train(checked.spec, bar, lease, stamp=start.stamp, verbose=verbose)
        except KeyboardInterrupt:  # Ctrl-C or SIGTERM
            say(f"stopped; {stop_text(checked.spec, stores.folder)}", err=True)
            raise
    for line in result_lines(checked.spec, stores.folder):
        say(line)


def _say_plan(checked: "Preflight") -> None:
    from job.config.validation import shown

    say(plan_text(checked), err=True)
    say(length_text(checked), err=True)
    say(scores_text(checked), err=True)
    for key, (was, value) in checked.changes.items():
        say(f"{key} is {value}; the checkpoint was saved with {shown(was)}", err=True)
