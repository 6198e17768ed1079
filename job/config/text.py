"""Text for people: what messages, logs and reports may hold.

A file name, a store's key or another program's message can hold line breaks, escape sequences of a
terminal and marks that turn the direction of writing. Shown raw, it could forge lines of the output
or rewrite the screen.
"""

import unicodedata

# Control characters, formatting marks, lone surrogates (names that are not UTF-8), line and
# paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def is_hidden(letter: str) -> bool:
    """Return whether ``letter`` is a control character or another that is invisible."""
    return unicodedata.category(letter) in _HIDDEN


def printable(text: str) -> str:
    """Return ``text`` on one line, its hidden characters escaped as in Python.

    ``\\n``, ``\\x1b``.
    """
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if is_hidden(letter) else letter for letter in text
    )


def counted(number: int, noun: str) -> str:
    """Return ``1 worker``, ``2 workers``, ``1,200 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bytes_text(num_bytes: int) -> str:
    """Return a size as ``512 MB``, with the digits that matter."""
    for exponent, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if (number := num_bytes / 10**exponent) >= 1:
            return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{num_bytes} bytes"
