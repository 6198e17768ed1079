"""``dcgan-train doctor``."""

import json
import shutil
import textwrap
from functools import partial
from typing import TYPE_CHECKING

import click

from job.cli.options import Sources, run_options
from job.cli.output import say
from job.config.errors import ConfigError, DcganError
from job.config.text import counted, printable

if TYPE_CHECKING:
    from job.doctor.check import Check

_STATE_WIDTH = len("warning  ")
_NO_TERMINAL = (10_000, 24)  # columns and lines: a log is not wrapped


class NotReady(DcganError):
    """A check failed, so a run would not start."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@click.command()
@run_options("--epochs", "--steps", "--batch")
@click.option(
    "--workers",
    is_flag=True,
    help="Start the run's workers too, compare them, and let them make one all-reduce.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of the checks instead.")
def doctor(sources: Sources, workers: bool, as_json: bool) -> None:
    """Check this machine, and with --config if that run would start; train nothing.

    Tries each right on the run's stores with small objects and deletes them again.

    Exit codes: 0 a run would start, else that of the first error: 2 configuration, 3 storage, 5
    data, 1 another.
    """
    from job.config.environment import PREFIX
    from job.config.host import ensure_home
    from job.config.load import load_run
    from job.doctor.diagnosis import diagnose, exit_code
    from job.telemetry import logs

    has_run = sources.path is not None or sources.preset is not None or bool(sources.overrides)
    has_run |= any(name.startswith(PREFIX) for name in sources.environment)
    if workers and not has_run:
        raise ConfigError(
            "--workers is given without a run; expected --config, --preset or --set, which say how"
            " many workers there are and what each needs"
        )
    ensure_home()
    logs.configure("error")
    load = partial(load_run, *sources) if has_run else None
    checks = []
    for each in diagnose(load, workers=workers, note=lambda text: say(text, err=True)):
        checks.append(each)
        if not as_json:
            _print(each)
    if as_json:
        fields = ("check", "state", "found", "advice")
        rows = [dict(zip(fields, map(printable, each[:4]), strict=True)) for each in checks]
        click.echo(json.dumps(rows, indent=2))
    numbers = {state: sum(each.state == state for each in checks) for state in ("error", "warning")}
    summary = (
        f"{counted(len(checks), 'check')}, {counted(numbers['error'], 'error')},"
        f" {counted(numbers['warning'], 'warning')}"
    )
    what = "this run" if has_run else "a run on this machine"
    if code := exit_code(checks):
        raise NotReady(f"{what} would not start: {summary}", code)
    say(f"{what} would start: {summary}", err=as_json)


def _print(check: "Check") -> None:
    """Print a check and, indented, its advice, within the width of a terminal if it is one."""
    width = max(60, shutil.get_terminal_size(_NO_TERMINAL).columns)
    indent = " " * _STATE_WIDTH
    wrap = partial(
        textwrap.wrap,
        width=width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    text = printable(f"{check.name}: {check.found}")
    lines = wrap(f"{check.state:<{_STATE_WIDTH}}{text}")
    if check.advice:
        lines += wrap(f"{indent}-> {printable(check.advice)}")
    for line in lines:
        say(line)
