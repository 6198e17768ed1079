"""Text about a run for the terminal: its plan, its length, its checkpoint, its results."""

import math
import shlex
from typing import TYPE_CHECKING

from job.cli.options import option_text, program
from job.config.text import counted

if TYPE_CHECKING:
    from job.config.spec import RunSpec
    from job.storage.store import ObjectStore
    from job.training.preflight import Preflight


def plan_lines(checked: "Preflight") -> list[str]:
    """Return what a run will do, and what differs from the run that it resumes."""
    return _what_is_planned(checked) + memory_lines(checked)


def dry_run_lines(spec: "RunSpec") -> list[str]:
    """Check ``spec``; return its configuration as YAML, and as comments the plan and the time."""
    from job.config.load import to_yaml
    from job.launch import machine
    from job.launch.estimate import time_text
    from job.training import preflight

    checked = preflight.check(spec)
    texts = _what_is_planned(checked)
    if not checked.is_finished:
        machine.check_machine(checked.spec)
        texts.append(time_text(checked))
    texts += memory_lines(checked)
    texts.append(f"not checked: {machine.unchecked(checked.spec)}")
    return [*to_yaml(checked.spec).splitlines(), *(f"# {text}" for text in texts)]


def _what_is_planned(checked: "Preflight") -> list[str]:
    from job.config.validation import shown

    texts = plan_text(checked), length_text(checked), classes_text(checked), scores_text(checked)
    changes = [
        f"{key} is {value}; the checkpoint was saved with {shown(was)}"
        for key, (was, value) in checked.changes.items()
    ]
    return [text for text in texts if text] + changes


def plan_text(checked: "Preflight") -> str:
    """Return one line: the images, the steps, the workers, the first step and the run folder."""
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
        f"a grid every {counted(schedule.sample_every, 'step')}",
        f"a checkpoint every {counted(schedule.checkpoint_every, 'step')}",
    )
    if schedule.checkpoint_every >= schedule.total_steps:
        checkpoints = (
            f"one checkpoint, at the end (checkpoints.every_steps is {schedule.checkpoint_every:,})"
        )
    number = f"{epochs:,.0f}" if epochs >= 1000 else f"{epochs:.4g}"
    return f"length: {number} epochs{why}; {grids}, {checkpoints}"


def classes_text(checked: "Preflight") -> str:
    """Return one line: whether the run learns the classes of its images; empty without classes.

    Empty, too, if a run folder has been trained without them: it cannot change.
    """
    from job.training.identity import MAX_CLASSES

    index, number = checked.index, len(checked.index.classes or ())
    if checked.spec.model.conditional:
        return f"classes: learns all {number:,}"
    if not index.is_labelled or not 2 <= number <= MAX_CLASSES or checked.resumed:
        return ""
    return (
        f"classes: learns none of the {number:,} (usually better images, and a choice of class:"
        " model.conditional=true)"
    )


def scores_text(checked: "Preflight") -> str:
    """Return one line: the steps between scores, or why there are none."""
    quality, schedule = checked.spec.quality, checked.schedule
    if quality.features == "none":
        data = shlex.quote(checked.spec.data.uri)
        return f"scores: none (for scores of the images: `{program()} quality fit {data}` first)"
    return (
        f"scores: every {schedule.score_every:,} steps,"
        f" {min(quality.num_images, checked.index.num_rows):,} generated images against real ones"
        f" ({quality.features})"
    )


def memory_lines(checked: "Preflight") -> list[str]:
    """Return a warning if the run would train on this machine and not fit in its memory."""
    from job.launch.estimate import memory_warning
    from job.telemetry.resources import available_memory

    warning = None if checked.is_finished else memory_warning(checked.spec, available_memory())
    return [warning] if warning else []


def stop_text(spec: "RunSpec", store: "ObjectStore") -> str:
    """Return the last checkpoint of a stopped run, and what the same command does next."""
    from job.checkpoints.checkpoints import Checkpoints
    from job.config.spec import RESUME_MODES
    from job.run.layout import CONFIGURATION

    newest = next(Checkpoints(store).readable(), None)
    if newest:
        return f"the last checkpoint is step {newest[0].step}; the same command resumes from there"
    begin = (
        "at step 0"
        if spec.checkpoints.resume in RESUME_MODES
        else f"from {spec.checkpoints.resume}"
    )
    if store.stat(CONFIGURATION) is None:  # Ray was still being loaded
        return f"the run had not begun; the same command starts {begin}"
    return f"no checkpoint was saved yet; the same command starts again {begin}"


def result_lines(spec: "RunSpec", store: "ObjectStore") -> list[str]:
    """Return where the results of a finished run are, and the command to use them."""
    from job.checkpoints.checkpoints import Checkpoints
    from job.run.layout import GRIDS, PROGRESS, REPORT, grid_step

    checkpoints = Checkpoints(store)
    newest, _ = next(checkpoints.readable())
    folder = spec.uri.rstrip("/")
    grids = [entry.key for entry in store.list(GRIDS) if grid_step(entry.key) is not None]
    checkpoint = checkpoints.uri(newest.step)
    results = {
        "sample grid": f"{folder}/{grids[-1]}" if grids else "",
        "progress GIF": f"{folder}/{PROGRESS}" if store.stat(PROGRESS) else "",
        "report": f"{folder}/{REPORT}" if store.stat(REPORT) else "",
        "checkpoint": checkpoint,
        "next": f"{program()} generate {shlex.quote(checkpoint)} --num 100"
        f"{' --balanced' if spec.model.conditional else ''} --format grid --out images.png"
        f"{option_text(spec.storage)}",
    }
    return [f"{name + ':':<14}{value}" for name, value in results.items() if value]
