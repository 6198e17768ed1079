"""``dcgan-train train``."""

import dataclasses
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from job.cli.options import LocalPath, option_text, program
from job.cli.output import say
from job.config.errors import ConfigError
from job.config.load import load_run, preset_names, to_yaml
from job.config.text import counted

if TYPE_CHECKING:
    from job.config.spec import RunSpec
    from job.training.preflight import Preflight


@click.command()
@click.option(
    "--config", "path", type=LocalPath(), help="YAML with the keys of docs/configuration.md."
)
@click.option("--preset", help=f"Preset that --config overrides: {', '.join(preset_names())}.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one value (highest precedence), for example workers.count=4.",
)
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
def train(
    path: Path | None,
    preset: str | None,
    overrides: tuple[str, ...],
    resume: str | None,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Train, or resume from the last checkpoint of the run folder.

    Starts a Ray cluster on this machine, or joins the one that RAY_ADDRESS names.
    """
    spec = load_run(preset, path, overrides)
    if resume is not None:
        if not resume:
            raise ConfigError(
                "--resume is empty; expected auto, never, or the URI of a run folder or a"
                " checkpoint"
            )
        # As it is: a path may look like YAML.
        spec = dataclasses.replace(
            spec, checkpoints=dataclasses.replace(spec.checkpoints, resume=resume)
        )
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
        if not checked.is_finished:
            say(f"# {time_text(checked)}")
        say(f"# not checked: {machine.unchecked(checked.spec)}")
        return
    train_run(spec, verbose=verbose)


def train_run(spec: "RunSpec", *, verbose: bool = False) -> None:
    """Check, train with a progress bar, and say where everything is."""
    from job.launch import machine
    from job.telemetry.progress import ProgressBar
    from job.training import preflight

    checked = preflight.check(spec)
    _say_plan(checked)
    if not checked.is_finished:
        from job.cli.outcome import record_outcome
        from job.config.host import ensure_home

        ensure_home()
        from job.launch import trainer  # takes a second: Ray
        from job.run.process_records import open_records, process_records
        from job.telemetry import logs

        try:
            with preflight.leased(checked, lambda line: say(line, err=True)) as lease:
                before, checked = (
                    checked,
                    preflight.check(spec),
                )  # again: another job may have trained on till it gave the folder back
                if checked.resumed != before.resumed:
                    _say_plan(checked)
                if not checked.is_finished:
                    machine.check_machine(checked.spec)
                    start = preflight.record(checked)
                    logs.configure("info" if verbose else "warning")
                    ending = record_outcome(open_records(checked.spec), start)
                    with (
                        process_records(checked.spec, start.stamp, "driver"),
                        ending,
                        ProgressBar() as bar,
                    ):
                        trainer.train(checked.spec, bar, lease, stamp=start.stamp, verbose=verbose)
        except KeyboardInterrupt:  # Ctrl-C or SIGTERM
            say(f"stopped; {stop_text(checked.spec)}", err=True)
            raise
    _print_results(checked.spec)


def _say_plan(checked: "Preflight") -> None:
    from job.config.validation import shown

    say(plan_text(checked), err=True)
    say(length_text(checked), err=True)
    for key, (was, value) in checked.changes.items():
        say(f"{key} is {value}; the checkpoint was saved with {shown(was)}", err=True)


def plan_text(checked: "Preflight") -> str:
    """One line: what will be trained, on what, and from where."""
    spec, schedule = checked.spec, checked.schedule
    height, width, channels = checked.index.image_shape
    start = f"resuming from step {checked.resumed.step:,}" if checked.resumed else "from the start"
    if checked.is_finished and checked.resumed:
        start = f"already done (step {checked.resumed.step:,})"
    gpus = f"{counted(spec.workers.gpus, 'GPU')} each" if spec.workers.gpus else "CPU"
    return (
        f"{counted(checked.index.num_rows, 'image')} {height}x{width}x{channels},"
        f" {counted(schedule.total_steps, 'step')} of"
        f" {spec.training.global_batch_size} on {counted(spec.workers.count, 'worker')} ({gpus}),"
        f" {start}, run folder {spec.uri}"
    )


def length_text(checked: "Preflight") -> str:
    """Return one line: passes over the data and why, steps between grids and checkpoints."""
    training, schedule = checked.spec.training, checked.schedule
    epochs = schedule.total_steps / schedule.steps_per_epoch
    why = ""
    if (
        not training.steps
        and training.epochs
        and schedule.total_steps > math.ceil(training.epochs * schedule.steps_per_epoch)
    ):
        why = (
            f" (training.min_steps is {training.min_steps:,}: {training.epochs:g} epochs of so few"
            " images are only"
            f" {math.ceil(training.epochs * schedule.steps_per_epoch):,} steps; set"
            " training.epochs or training.steps for another length)"
        )
    grids, checkpoints = (
        f"a grid every {schedule.sample_every:,} steps",
        f"a checkpoint every {schedule.checkpoint_every:,} steps",
    )
    if schedule.checkpoint_every >= schedule.total_steps:
        checkpoints = (
            f"one checkpoint, at the end (checkpoints.every_steps is {schedule.checkpoint_every:,})"
        )
    return f"length: {epochs:,.4g} epochs{why}; {grids}, {checkpoints}"


def stop_text(spec: "RunSpec") -> str:
    """Return what a stopped run has, and what its command does next."""
    from job.checkpoints.checkpoints import Checkpoints
    from job.config.spec import RESUME_MODES
    from job.storage.uri import open_store

    newest = next(Checkpoints(open_store(spec.uri, spec.storage)).readable(), None)
    if newest:
        return f"the last checkpoint is step {newest[0].step}; the same command resumes from there"
    begin = (
        "at step 0"
        if spec.checkpoints.resume in RESUME_MODES
        else f"from {spec.checkpoints.resume}"
    )
    return f"no checkpoint was saved yet; the same command starts again {begin}"


def _print_results(spec: "RunSpec") -> None:
    from job.checkpoints.checkpoints import Checkpoints
    from job.run.layout import GRIDS, PROGRESS, REPORT, grid_step
    from job.storage.uri import open_store

    store = open_store(spec.uri, spec.storage)
    checkpoints = Checkpoints(store)
    newest, _ = next(checkpoints.readable())
    folder = spec.uri.rstrip("/")
    grids = [entry.key for entry in store.list(GRIDS) if grid_step(entry.key) is not None]
    if grids:
        say(f"{'sample grid:':<14}{folder}/{grids[-1]}")
    if store.stat(PROGRESS):
        say(f"{'progress GIF:':<14}{folder}/{PROGRESS}")
    if store.stat(REPORT):
        say(f"{'report:':<14}{folder}/{REPORT}")
    say(f"{'checkpoint:':<14}{checkpoints.uri(newest.step)}")
    options = option_text(spec.storage)
    say(
        f"{'next:':<14}{program()} generate {shlex.quote(checkpoints.uri(newest.step))} --num 100"
        f" --format grid --out images.png{options}"
    )
