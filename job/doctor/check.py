"""The result of one check, and how an error becomes one."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from job.config.errors import DcganError

State = Literal["ok", "warning", "error"]


class Check(NamedTuple):
    """One check; ``exit_code`` is that of the error's kind, 0 if it did not fail."""

    name: str
    state: State
    found: str
    advice: str = ""
    exit_code: int = 0


def check(name: str, examine: Callable[[], Check | str]) -> Check:
    """Return the result of ``examine``: a text is ok, a ``DcganError`` an error."""
    try:
        found = examine()
    except DcganError as error:
        return failed(name, error)
    return Check(name, "ok", found) if isinstance(found, str) else found


def failed(name: str, error: DcganError, advice: str = "") -> Check:
    """Return the check that ended with ``error``; without ``advice`` its text gives one."""
    found, remedy = _halves(str(error))
    return Check(name, "error", found, advice or remedy, error.exit_code)


def unchecked(name: str, why: str, advice: str) -> Check:
    """Return a warning that ``name`` was not checked."""
    return Check(name, "warning", f"not checked: {why}", advice)


def _halves(text: str) -> tuple[str, str]:
    """Split ``KEY is VALUE; expected X. Do Y.`` at its first semicolon outside of parentheses."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth <= 0 and text.startswith("; ", position):
            return text[:position], text[position + 2 :]
    return text, "correct this, then run doctor again"
