"""``python -m tests.e2e.cluster up|down|env [--folder FOLDER]``: a cluster to use by hand."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import click

from tests.e2e.cluster.kubernetes import KUBECONFIG_NAME, kubernetes, sweep
from tests.servers.tools import BIN, ROOT

_FOLDER = ROOT / "build" / "cluster"
_UP_SECONDS = 900.0
_DOWN_SECONDS = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.cluster", description=__doc__)
    parser.add_argument(
        "command", choices=["up", "down", "env", "hold"], help="`hold` is what `up` leaves running"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=_FOLDER,
        help="where it keeps its files (default: %(default)s)",
    )
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    named = os.environ.get("KUBECONFIG")
    if named and Path(named) != folder / KUBECONFIG_NAME and arguments.command != "hold":
        click.echo(
            f"KUBECONFIG is {named}: that cluster is used, none is made or ended here", err=True
        )
        return
    {"up": _up, "down": _down, "env": _env, "hold": _hold}[arguments.command](folder)


def _up(folder: Path) -> None:
    if _holder(folder):
        click.echo(f"It is up. {_how(folder)}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    started = time.monotonic()
    command = [sys.executable, "-m", "tests.e2e.cluster", "hold", "--folder", str(folder)]
    environment = {
        name: value for name, value in os.environ.items() if name != "KUBECONFIG"
    }  # of the one before, where it is set
    with (folder / "holder.log").open("wb") as log:
        holder = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not (folder / "up").exists():
        if holder.poll() is not None or time.monotonic() - started > _UP_SECONDS:
            holder.terminate()
            raise SystemExit(f"no cluster:\n{(folder / 'holder.log').read_text()[-3000:]}")
        time.sleep(0.2)
    click.echo(f"Up after {time.monotonic() - started:.0f} s. {_how(folder)}")


def _hold(folder: Path) -> None:
    """Until SIGTERM, or until the node ends by itself."""
    ended = Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with kubernetes(folder) as cluster:
        (folder / "up").write_text(str(os.getpid()))
        while not ended.wait(1.0):
            if not Path(f"/proc/{cluster.first_process}").exists():
                raise SystemExit(f"the node has ended; {folder / 'node.log'} ends with the reason")


def _down(folder: Path) -> None:
    holder = _holder(folder)
    if not holder:
        click.echo("None is up.")
        if folder.exists():
            sweep(folder)
        return
    os.kill(holder, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while _is_holder(holder, folder):
        if time.monotonic() > deadline:
            raise SystemExit(
                f"process {holder} has not ended in {_DOWN_SECONDS} s; "
                f"{folder / 'holder.log'} may say why"
            )
        time.sleep(0.1)


def _env(folder: Path) -> None:
    """For `eval` in a shell."""
    if not _holder(folder):
        raise SystemExit("none is up: python -m tests.e2e.cluster up")
    click.echo(f'export KUBECONFIG="{folder / KUBECONFIG_NAME}" PATH="{BIN}:$PATH"')


def _holder(folder: Path) -> int | None:
    """The process that holds the cluster of this folder up."""
    try:
        pid = int((folder / "up").read_text())
    except (OSError, ValueError):
        return None
    return pid if _is_holder(pid, folder) else None


def _is_holder(pid: int, folder: Path) -> bool:
    """Process ids are used again: it is still that one where its command names the folder."""
    try:
        return str(folder) in Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False


def _how(folder: Path) -> str:
    return f'Use it: eval "$(python -m tests.e2e.cluster env)"; logs: {folder / "logs"}'


if __name__ == "__main__":
    main()
