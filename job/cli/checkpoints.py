"""``dcgan-train checkpoints``."""

from typing import TYPE_CHECKING

import click

from job.cli.options import storage_options
from job.cli.output import say
from job.config.text import counted

if TYPE_CHECKING:
    from job.checkpoints.checkpoints import Checkpoints, Folder
    from job.config.storage import StorageSpec


@click.group()
def checkpoints() -> None:
    """List, verify and pin the checkpoints of a run folder."""


@checkpoints.command("list")
@click.argument("run")
@storage_options
def list_checkpoints(run: str, storage: "StorageSpec") -> None:
    """List the checkpoints of RUN, newest first, with their scores."""
    from job.checkpoints.best import best_of

    found = _open(run, storage)
    committed = [folder for folder in found.folders() if folder.is_committed]
    if not committed:
        raise _none(run)
    columns = f"{'step':>10}  {'images seen':>12}  {'MB':>8}  {'created':<25}  {'Frechet':>8}"
    say(f"{columns}  {'state':<11}  uri")
    _, newest = next(found.readable(), (None, None))
    best = best_of(newest.metrics) if newest else None
    for folder in committed:
        facts = _facts(found, folder, is_best=best is not None and best.step == folder.step)
        say(f"{folder.step:>10}  {facts}  {found.uri(folder.step)}")


@checkpoints.command()
@click.argument("run")
@click.option(
    "--release", is_flag=True, help="Release checkpoints from quarantine that are whole again."
)
@storage_options
def verify(run: str, release: bool, storage: "StorageSpec") -> None:
    """Read every part of every checkpoint of RUN and compare it with its manifest.

    Exit code 3 if one is damaged.
    """
    from job.config.errors import StorageError

    found = _open(run, storage)
    folders = found.folders()
    if not any(folder.is_committed for folder in folders):
        raise _none(run)
    num_damaged = num_whole = 0
    for folder in folders:
        damage = found.damage(folder)
        outcome = (
            "no manifest: a save that was cut short; the next save removes it"
            if damage is None and not folder.is_committed
            else damage or "ok"
        )
        if folder.is_quarantined:
            if damage is None and release:
                found.release(folder.step)
                outcome = "ok, quarantine taken off"
            else:
                outcome += f"; quarantined ({found.why_quarantined(folder)})" + (
                    "" if damage else "; --release takes it again"
                )
        num_damaged += damage is not None
        num_whole += damage is None and folder.is_committed
        say(f"step {folder.step}: {outcome}")
    if num_damaged:
        raise StorageError(
            f"{run}: damaged are {num_damaged} of {counted(len(folders), 'checkpoint')}; "
            + (
                "the newest whole one is used. Restore their files"
                if num_whole
                else "none is whole. Restore the files of one"
            )
        )


@checkpoints.command()
@click.argument("run")
@click.argument("step", type=click.IntRange(min=0))
@storage_options
def pin(run: str, step: int, storage: "StorageSpec") -> None:
    """Keep the checkpoint of STEP for good, whatever `checkpoints.keep` says."""
    _open(run, storage).pin(step)
    say(f"step {step} is pinned")


@checkpoints.command()
@click.argument("run")
@click.argument("step", type=click.IntRange(min=0))
@storage_options
def unpin(run: str, step: int, storage: "StorageSpec") -> None:
    """Leave the checkpoint of STEP to `checkpoints.keep` again."""
    _open(run, storage).unpin(step)
    say(f"step {step} is not pinned")


def _facts(found: "Checkpoints", folder: "Folder", *, is_best: bool) -> str:
    """Return columns from the manifest and the state of the checkpoint; hashes are not checked."""
    from job.checkpoints.manifest import BadManifest

    state = "best" if is_best else "ok"
    state = "quarantined" if folder.is_quarantined else "pinned" if folder.is_pinned else state
    try:
        manifest = found.manifest(folder.step)
    except BadManifest:
        return f"{'?':>12}  {'?':>8}  {'?':<25}  {'?':>8}  {'unreadable':<11}"
    if folder.damage(manifest):
        state = "damaged"
    distance = manifest.metrics.get("frechet_distance")
    score = "" if distance is None else f"{distance:.2f}"
    megabytes = manifest.num_bytes / 1e6
    columns = f"{manifest.images_seen:>12}  {megabytes:>8.1f}  {manifest.created:<25}"
    return f"{columns}  {score:>8}  {state:<11}"


def _open(run: str, storage: "StorageSpec") -> "Checkpoints":
    from job.checkpoints.checkpoints import Checkpoints
    from job.storage.uri import open_store

    return Checkpoints(open_store(run, storage))


def _none(run: str) -> Exception:
    from job.config.errors import StorageError

    return StorageError(
        f"{run}: no committed checkpoint; expected a run folder (uri in run.yaml) that training"
        " has saved to"
    )
