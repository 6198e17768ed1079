"""Set the version of the program, its chart and its image.

    python -m release.version 0.2.0

pyproject.toml has the version. Files that cannot read it name it in one of the forms of
``MENTION``, and tests/release/test_version.py checks them.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MENTION = re.compile(
    r'((?:\b(?:dcgan-train|gan):|\bVERSION=|\bnewTag: "?|kubernetes\.io/version: "|^version = "'
    r'|^version: |^appVersion: "))(\d+\.\d+\.\d+)',
    re.MULTILINE,
)


def current() -> str:
    """Return the version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def mentions() -> Iterator[tuple[Path, str]]:
    """Yield (file, version) of each place that names the version of the program."""
    others = (":!*.lock", ":!*.sum", ":!tests/release")
    command = ["git", "grep", "-lIE", r"[0-9]+\.[0-9]+\.[0-9]+", "--", *others]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in (ROOT / name for name in names.splitlines()):
        for _, version in MENTION.findall(path.read_text()):
            yield path, version


def replace(version: str) -> None:
    """Write ``version`` into all files that name one."""
    for path in {path for path, _ in mentions()}:
        path.write_text(MENTION.sub(rf"\g<1>{version}", path.read_text()))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        sys.exit(f"{' '.join(sys.argv[1:]) or 'no version'}; expected one, as in: 0.2.0")
    replace(sys.argv[1])
