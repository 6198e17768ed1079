"""The notes of a version, as text and as Artifact Hub's changes."""

import pytest

from release import changelog
from release.version import current

TEXT = """# Changelog

## [0.2.0] - 2027-01-02

One sentence.

### Added

- A command
  on two lines.
- Another.

### Fixed

- A fault.

## [0.1.0] - 2026-12-01

- Not this.
"""


def test_notes_are_the_section_of_the_version() -> None:
    notes = changelog.notes("0.2.0", TEXT)
    assert notes.startswith("One sentence.\n\n### Added\n")
    assert notes.endswith("- A fault.\n")
    assert changelog.notes("0.1.0", TEXT) == "- Not this.\n"


def test_a_version_without_a_section_is_an_error() -> None:
    with pytest.raises(
        SystemExit, match=r"no section \[0\.3\.0\]; expected `## \[0\.3\.0\] - DATE`"
    ):
        changelog.notes("0.3.0", TEXT)


def test_changes_have_a_kind_and_one_line() -> None:
    assert changelog.changes("0.2.0", TEXT) == [
        {"kind": "added", "description": "A command on two lines."},
        {"kind": "added", "description": "Another."},
        {"kind": "fixed", "description": "A fault."},
    ]


def test_an_unknown_heading_is_an_error() -> None:
    with pytest.raises(SystemExit, match="`### Repaired`; expected one of added, changed"):
        changelog.changes("0.2.0", TEXT.replace("### Fixed", "### Repaired"))


def test_the_current_version_opens_with_one_sentence_and_lists_changes() -> None:
    text = changelog.CHANGELOG.read_text()
    first, _, rest = changelog.notes(current(), text).partition("\n\n")
    assert first.count(".") == 1
    assert first.endswith(".")
    assert rest.startswith("### ")
    changes = changelog.changes(current(), text)
    assert changes
    assert all(len(each["description"]) < 600 for each in changes)
