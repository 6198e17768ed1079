"""``dcgan-train jobs``: the jobs of a Ray cluster, and following one in the terminal."""

import re
import shlex
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from job.cli.options import program
from job.cli.output import say
from job.cli.scores_text import table_lines
from job.config.errors import ConfigError

if TYPE_CHECKING:
    from job.launch.job_client import Job, JobClient

STOPPED = 128 + signal.SIGTERM  # the exit code of `train` after a stop request
MAX_MESSAGE_LETTERS = 1000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STOP_LINE = "stopped; "  # begins the last line of a `train` that was stopped


def address_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--address`` to a command, which gets it as ``address``."""
    return click.option(
        "--address",
        envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],
        default="",
        metavar="URL",
        help="Dashboard of the Ray cluster, http://HEAD:8265. Default: RAY_API_SERVER_ADDRESS, then"
        " RAY_ADDRESS.",
    )(command)


@click.group()
def jobs() -> None:
    """List, follow and stop the jobs of a Ray cluster."""


@jobs.command("list")
@address_option
def list_jobs(address: str) -> None:
    """List the submitted jobs of the cluster, oldest first."""
    found = connect(address).jobs()
    if not found:
        say(f"no jobs at {address}", err=True)
        return
    header = ("id", "state", "started", "took")
    for line in table_lines([header, *map(_row, found)]):
        say(line)


@jobs.command()
@click.argument("job_id", metavar="ID")
@address_option
def stop(job_id: str, address: str) -> None:
    """Stop the job ID: wait for its last checkpoint, and say which it is."""
    stop_job(connect(address), job_id)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the job ends.")
@address_option
def logs(job_id: str, follow: bool, address: str) -> None:
    """Print the log of the job ID. With --follow the exit code is the job's.

    Ctrl-C while following asks if the job is to be stopped.
    """
    client = connect(address)
    if follow:
        follow_job(client, job_id, address)
    for line in _lines(client.log(job_id)):
        say_log_line(line)


def connect(address: str) -> "JobClient":
    """Return a client of the cluster; ``ConfigError`` if the address is not a dashboard's."""
    name = "the cluster's address (--address, RAY_API_SERVER_ADDRESS or RAY_ADDRESS)"
    expected = "expected the URL of its dashboard, such as http://HEAD:8265"
    if not address:
        raise ConfigError(f"{name} is not set; {expected}")
    if "@" in address:  # not shown: the text before the @ may be a password
        raise ConfigError(f"{name} holds a user or password; {expected}, and a token for access")
    from job.config.storage import is_http_url  # loads pydantic

    if not is_http_url(address):
        raise ConfigError(f"{name} is {address}; {expected}")
    from job.launch.job_client import JobClient  # takes a second: Ray

    return JobClient(address)


def follow_job(client: "JobClient", job_id: str, address: str) -> None:
    """Print the log as it grows, and exit with the job's exit code when it ends.

    After Ctrl-C on a terminal ask if the job is to be stopped; otherwise it keeps running.
    """
    try:
        found = client.follow(job_id, say_log_line)
    except KeyboardInterrupt:
        if _wants_stop():
            stop_job(client, job_id)
        else:
            say(f"job {job_id} keeps running", err=True)
            for line in command_lines(job_id, address):
                say(line, err=True)
        raise
    say(_end_text(found), err=True)
    sys.exit(_exit_code(found))


def stop_job(client: "JobClient", job_id: str) -> None:
    """Stop a job, and print its end and its last checkpoint."""
    before = client.job(job_id)
    if before.has_ended:
        say(f"nothing to stop: {_end_text(before)}")
        return
    say(f"stopping job {job_id}: waiting for its last checkpoint", err=True)
    say(_end_text(client.stop(job_id)))
    log = reversed(_lines(client.log(job_id)))
    last = next((line for line in log if line.startswith(_STOP_LINE)), None)
    if last:
        say_log_line(last.removeprefix(_STOP_LINE))
    else:
        say(
            "its log names no last checkpoint: it had not begun, or was killed while it saved"
            " (docs/reliability.md); the same command resumes from the checkpoint before"
        )


def command_lines(job_id: str, address: str) -> list[str]:
    """Return the commands to follow and to stop a job."""
    rest = f"{shlex.quote(job_id)} --address {shlex.quote(address)}"
    return [
        f"follow:  {program()} jobs logs --follow {rest}",
        f"stop:    {program()} jobs stop {rest}",
    ]


def say_log_line(line: str) -> None:
    """Print a line of a log, which may hold anything: without colours and control characters."""
    say(_COLOURS.sub("", line).rstrip("\r").expandtabs())


def _wants_stop() -> bool:
    """Ask on a terminal; a second Ctrl-C or the end of the input leaves the job running.

    After SIGTERM, which is ignored from then on (job/cli/main.py), nobody is there to answer.
    """
    is_terminated = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    if is_terminated or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        answer = click.prompt(
            "\nstop the job, or leave it running? [s/L]",
            type=click.Choice(["s", "l"], case_sensitive=False),
            default="l",
            show_default=False,
            show_choices=False,
            err=True,
        )
    except click.Abort:
        say("", err=True)
        return False
    return bool(answer == "s")


def _lines(log: str) -> list[str]:
    """Return the lines of a log; a control character does not begin one, as `splitlines` thinks."""
    return log.removesuffix("\n").split("\n") if log else []


def _exit_code(found: "Job") -> int:
    """Return the exit code of `train` in the job; 1 if it is not known."""
    if found.status in ("succeeded", "stopped"):
        return 0 if found.status == "succeeded" else STOPPED
    code = found.exit_code or 1
    return code if code > 0 else 128 - code  # negative: a signal


def _end_text(found: "Job") -> str:
    text = f"job {found.id} {'was ' if found.status == 'stopped' else ''}{found.status}"
    if found.status != "failed":
        return text
    if found.exit_code is not None:
        return f"{text} with exit code {_exit_code(found)}; its log has the reason"
    message = " ".join(found.message.split())  # the program did not start, or its node died
    is_long = len(message) > MAX_MESSAGE_LETTERS
    return f"{text}: {message[:MAX_MESSAGE_LETTERS]}{'...' if is_long else ''}"


def _row(found: "Job") -> tuple[str, ...]:
    if not found.started:
        return found.id, found.status, "", ""
    seconds = ((found.ended or datetime.now(UTC)) - found.started).total_seconds()
    hours, minutes, seconds = int(seconds // 3600), int(seconds // 60 % 60), int(seconds % 60)
    code = f" ({_exit_code(found)})" if found.status == "failed" else ""
    started = found.started.astimezone().strftime("%Y-%m-%d %H:%M")
    return found.id, found.status + code, started, f"{hours}:{minutes:02}:{seconds:02}"
