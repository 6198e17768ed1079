"""``dcgan-train export``."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from job.cli.options import LocalPath, storage_options
from job.cli.output import say
from job.cli.output_file import write_file
from job.config.errors import ConfigError

if TYPE_CHECKING:
    from job.config.storage import StorageSpec


@click.command()
@click.argument("run")
@click.option(
    "--format",
    "form",
    type=click.Choice(["keras", "saved-model", "onnx", "litert", "web"]),
    required=True,
    help="Keras file, TensorFlow SavedModel (a folder), ONNX, LiteRT (.tflite); or web: one HTML"
    " file that makes images in a browser.",
)
@click.option(
    "--out",
    "destination",
    type=LocalPath(),
    required=True,
    help="The file; for saved-model a new or empty folder.",
)
@click.option(
    "--best",
    "is_best",
    is_flag=True,
    help="Of a run folder, take the checkpoint with the best score instead of the newest.",
)
@storage_options
def export(run: str, form: str, destination: Path, is_best: bool, storage: "StorageSpec") -> None:
    """Write the generator of RUN (its newest checkpoint, or RUN/checkpoints/step-...) for use
    without this program.

    The exported generator computes in float32.
    """
    if not run.strip():
        raise ConfigError("RUN is empty; expected a URI or a path (an unset shell variable?)")
    if form == "onnx" and find_spec("tf2onnx") is None:
        raise ConfigError(
            "--format onnx needs the package tf2onnx, which is not installed; run `pip install"
            " tf2onnx` (the extra `export` of dcgan-train), or choose another format"
        )
    _check_destination(destination, form)
    if is_best:
        from job.checkpoints.origin import best_uri

        run = best_uri(run, storage)
    from job.api.framework import load_tensorflow

    load_tensorflow()
    from job.export.model_file import model_bytes, write_saved_model
    from job.export.web_page import web_page
    from job.synthesis.source import load_generator
    from job.telemetry.quiet import quiet_stderr

    source = load_generator(run, storage, policy="float32")
    say(f"exporting the generator of {source.uri} (step {source.step})", err=True)
    if form == "saved-model":
        with quiet_stderr():
            write_saved_model(source.generator, destination)
        say(str(destination))
        return
    with quiet_stderr():  # the converters log much
        data = web_page(source) if form == "web" else model_bytes(source.generator, form)
    write_file(destination, data)


def _check_destination(destination: Path, form: str) -> None:
    """Raise ``ConfigError`` before TensorFlow is loaded, which takes seconds."""
    if form == "saved-model":
        is_free = not destination.exists() or (
            destination.is_dir() and not any(destination.iterdir())
        )
        if not is_free:
            raise ConfigError(
                f"--out is {destination}, which is there and not an empty folder; expected a new or"
                " empty folder, because a SavedModel is a folder"
            )
    elif destination.is_dir():
        raise ConfigError(
            f"--out is {destination}, a folder; expected a file, for example"
            f" {destination / 'generator'}{_SUFFIX[form]}"
        )
    elif form == "keras" and destination.suffix != ".keras":
        raise ConfigError(
            f"--out is {destination}; expected a name that ends in .keras, because Keras loads no"
            " other"
        )


_SUFFIX = {"keras": ".keras", "onnx": ".onnx", "litert": ".tflite", "web": ".html"}
