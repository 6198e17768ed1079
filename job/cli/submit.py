"""``dcgan-train submit``: train on a Ray cluster as a job."""

import re
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from job.cli.jobs import address_option, command_lines, connect, follow_job
from job.cli.options import Sources, option_text, program, run_options
from job.cli.output import say
from job.config.errors import ConfigError

if TYPE_CHECKING:
    from job.config.spec import RunSpec

MAX_NAME_LETTERS = 20  # of an id, so that `jobs list` fits into 80 columns


@click.command()
@run_options()
@address_option
@click.option("--detach", is_flag=True, help="Do not follow the job's log.")
def submit(sources: Sources, address: str, detach: bool) -> None:
    """Train on a Ray cluster: check the configuration, submit a job and follow its log.

    Uploads the resolved configuration and this program, no data: images and run folder are on S3
    or in folders that every machine of the cluster shares. The exit code is that of `train` in the
    job. Ctrl-C while following asks if the job is to be stopped.
    """
    from job.config.load import load_run

    spec = load_run(*sources)
    folders = local_folders(spec)
    client = connect(address)
    if folders:
        say(
            f"every machine of the cluster must see {' and '.join(folders)} under the same path (a"
            " shared file system)",
            err=True,
        )
    job_id = new_job_id(spec.uri, datetime.now(UTC))
    client.submit(spec, job_id)
    say(f"submitted job {job_id} to {address}")
    for line in command_lines(job_id, address):
        say(line)
    say(f"status:  {program()} status {shlex.quote(spec.uri)}{option_text(spec.storage)}")
    if not detach:
        follow_job(client, job_id, address)


def local_folders(spec: "RunSpec") -> list[str]:
    """Return the folders of the run that are not on S3, each with its key.

    Raise ``ConfigError`` if the cluster cannot have one: a job runs in a temporary folder, with
    another home.
    """
    from job.config.spec import RESUME_MODES
    from job.storage.paths import local_path
    from job.storage.uri import open_store

    places = {
        "data.uri": spec.data.uri,
        "uri": spec.uri,
        "checkpoints.resume": spec.checkpoints.resume,
        "quality.features": spec.quality.features.partition(":")[2],  # such as file:my.keras
    }
    folders = []
    for key, uri in places.items():
        if not uri or (key == "checkpoints.resume" and uri in RESUME_MODES):
            continue
        open_store(uri, spec.storage)  # raises ConfigError for a wrong URI; sends nothing
        if uri.startswith("s3://"):
            continue
        if not uri.startswith(("/", "file://")):
            raise ConfigError(
                f"{key} is {uri}, a path on this machine; expected s3://bucket/prefix, or the"
                " absolute path of a folder that every machine of the cluster shares, such as"
                f" {local_path(uri)}"
            )
        folders.append(f"{key} ({uri})")
    return folders


def new_job_id(uri: str, now: datetime) -> str:
    """Return an id from the run folder's name and the time: ``first-20261129-163000``."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", uri.rstrip("/").rpartition("/")[2]).lstrip("-")
    return f"{name[:MAX_NAME_LETTERS].rstrip('-') or 'run'}-{now:%Y%m%d-%H%M%S}"
