"""Read one version's section of CHANGELOG.md.

python -m release.changelog    # prints the notes of the current version, for its release
"""

import re
import sys
from pathlib import Path

from release.version import current

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
# Headings of Keep a Changelog are the kinds of Artifact Hub's `changes`.
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")


def notes(version: str, text: str) -> str:
    """Return the section of ``version`` without its heading."""
    heading = re.search(rf"^## \[{re.escape(version)}\] - (.+)$", text, re.MULTILINE)
    if heading is None:
        raise SystemExit(f"CHANGELOG.md: no section [{version}]; expected `## [{version}] - DATE`")
    return text[heading.end() :].partition("\n## ")[0].strip() + "\n"


def changes(version: str, text: str) -> list[dict[str, str]]:
    """Return each line of a version as Artifact Hub has it: its kind and description."""
    found = []
    for section in notes(version, text).split("\n### ")[1:]:
        kind, _, body = section.partition("\n")
        if kind.lower() not in KINDS:
            raise SystemExit(f"CHANGELOG.md: `### {kind}`; expected one of {', '.join(KINDS)}")
        items = re.findall(r"^- (.+?)(?=^- |\Z)", body, re.MULTILINE | re.DOTALL)
        found += [{"kind": kind.lower(), "description": " ".join(each.split())} for each in items]
    return found


if __name__ == "__main__":
    sys.stdout.write(notes(current(), CHANGELOG.read_text()))
