"""``dcgan-train`` and ``python -m job``.

The commands, and the only place where an error becomes text and an exit code.
"""

import io
import os
import signal
import sys
import threading
import traceback
from functools import partial
from types import FrameType

import click

from job.cli.checkpoints import checkpoints
from job.cli.compare import compare
from job.cli.config import config
from job.cli.data import data
from job.cli.demo import demo
from job.cli.doctor import doctor
from job.cli.evaluate import evaluate
from job.cli.export import export
from job.cli.generate import generate
from job.cli.jobs import jobs
from job.cli.options import set_hint
from job.cli.output import escape_what_a_terminal_cannot_show, open_standard_streams, say
from job.cli.quality import quality
from job.cli.report import report
from job.cli.status import status
from job.cli.submit import submit
from job.cli.sweep import sweep
from job.cli.train import train
from job.config.errors import DcganError, StorageError
from job.telemetry.secrets import mask_secrets

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
TRACEBACK = "DCGAN_TRACEBACK"

_was_terminated = threading.Event()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="dcgan-train")
def main() -> None:
    """Train a DCGAN on your images: on a laptop, on a Ray cluster or on Kubernetes.

    Exit codes: 0 done, 1 crashed, 2 usage or configuration, 3 storage, 4 diverged, 5 data, 130
    interrupted, 143 terminated.
    """


for command in (
    data,
    config,
    doctor,
    train,
    submit,
    jobs,
    sweep,
    status,
    report,
    compare,
    checkpoints,
    generate,
    export,
    quality,
    evaluate,
    demo,
):
    main.add_command(command)


def run() -> None:
    """Run the command line of this process and exit."""
    open_standard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored: nohup
        signal.signal(
            signal.SIGHUP, partial(_hang_up, [number for number in range(3) if os.isatty(number)])
        )
    escape_what_a_terminal_cannot_show()
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        main.main(arguments, prog_name="dcgan-train", standalone_mode=False)
        sys.stdout.flush()
    except DcganError as error:
        say(f"error: {mask_secrets(str(error))}", err=True)
        return error.exit_code
    except click.ClickException as error:
        _show(error, arguments)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # One that was raised in `exec` of a text (a dataclass, in an import) would end
        # `python -m job` with SIGINT, whatever the exit code, unless another `exec` follows.
        exec("")
        return TERMINATED if _was_terminated.is_set() else INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:  # standard output on a full disk; stores and sources raise DcganError
        say(f"error: {error}", err=True)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  flushed at exit
        return StorageError.exit_code
    except Exception as error:  # a library's; the user gets one line
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        reason = mask_secrets(" ".join(str(error).split())) or "no reason given"
        say(
            f"error: unexpected {type(error).__name__}: {reason}. Set {TRACEBACK}=1 to see the"
            " traceback",
            err=True,
        )
        return DcganError.exit_code
    return 0


def _show(error: click.ClickException, arguments: list[str]) -> None:
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().rstrip("\n").expandtabs(4).split("\n"):
        say(line, err=True)
    if isinstance(error, click.NoSuchOption) and (hint := set_hint(error.option_name, arguments)):
        say(hint, err=True)


def _hang_up(terminals: list[int], signal_number: int, frame: FrameType | None) -> None:
    """Stop as for SIGTERM, and write no more to the terminal that was closed.

    Each write would fail.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in terminals:
        os.dup2(nowhere, number)
    _terminate(signal_number, frame)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # once is enough; the way out takes a moment
    _was_terminated.set()
    # Ray turns a SystemExit, and subclasses of KeyboardInterrupt, into an exit with status 1 or a
    # plain KeyboardInterrupt.
    raise KeyboardInterrupt
