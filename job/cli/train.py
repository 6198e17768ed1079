"""``dcgan-train train``."""

from functools import partial
from typing import TYPE_CHECKING

import click

from job.cli.options import Sources, run_options
from job.cli.output import say
from job.cli.run_text import dry_run_lines, plan_lines, result_lines, stop_text
from job.config.errors import ConfigError

if TYPE_CHECKING:
    from job.config.spec import RunSpec
    from job.training.preflight import Preflight

note = partial(say, err=True)


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
    from job.config.load import load_run

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
        for line in dry_run_lines(spec):
            say(line)
        return
    train_run(spec, verbose=verbose)


def train_run(spec: "RunSpec", *, verbose: bool = False) -> None:
    """Check, train with a progress bar, and print where the results are."""
    from job.launch.run import train_run as run
    from job.telemetry.progress import ProgressBar

    plans: list[Preflight] = []

    def on_plan(checked: "Preflight") -> None:
        plans.append(checked)
        for line in plan_lines(checked):
            note(line)

    try:
        checked = run(spec, ProgressBar(), on_plan, note, verbose=verbose)
    except KeyboardInterrupt:  # Ctrl-C or SIGTERM
        if plans:
            note(f"stopped; {stop_text(plans[-1].spec, plans[-1].stores.folder)}")
        raise
    for line in result_lines(checked.spec, checked.stores.folder):
        say(line)
