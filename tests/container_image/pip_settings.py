"""Pass this machine's settings of the package index to pip in a build, as secrets in no layer.

Behind a mirror or an inspecting proxy, pip needs an index address or certificates that the base
image does not have.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEYS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries")
CERTIFICATES_THERE = "/run/secrets/ca.crt"  # where a build finds the secret `ca.crt`


@contextmanager
def pip_secrets() -> Iterator[list[str]]:
    """Return values for `--secret`; none if pip has no settings here."""
    settings = _settings()
    bundle = next(
        (
            path
            for path in (settings.get("cert"), os.environ.get("SSL_CERT_FILE"))
            if path and Path(path).is_file()
        ),
        None,
    )
    lines = [f"{key} = {' '.join(settings[key].split())}" for key in KEYS if key in settings]
    with tempfile.TemporaryDirectory() as folder:
        secrets = []
        if bundle:
            secrets.append(f"id=ca.crt,src={bundle}")
            lines.append(f"cert = {CERTIFICATES_THERE}")
        if lines:
            file = Path(folder) / "pip.conf"
            file.write_text("[global]\n" + "\n".join(lines) + "\n")
            secrets.append(f"id=pip.conf,src={file}")
        yield secrets


def _settings() -> dict[str, str]:
    """Return pip's settings from its files and variables; the latter are last and win."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value.strip("'\"")
    return settings
