"""Paths of users, in options, in a configuration or as ``file://`` URIs: one rule for all.

``~`` and ``~name`` are home folders. A ``file://`` URI is percent-decoded
(``file:///a/My%20Pictures`` is ``/a/My Pictures``); a plain path is not, so ``100%25`` is a name of
six characters.
"""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from job.config.errors import ConfigError

_SCHEME = "file://"


def local_path(text: str) -> Path:
    """Return the absolute path of a path or a ``file://`` URI; raise ``ConfigError`` if invalid.

    Earlier versions did not decode URIs. Their files are still found: if only the undecoded name
    exists, it is returned.
    """
    if not text.strip() or "\0" in text:
        raise ConfigError(
            f"the path is {text!r}; expected a file or a folder (is a shell variable unset?)"
        )
    if text.startswith(_SCHEME):
        rest = text.removeprefix(_SCHEME)
        if not rest.startswith("/"):
            raise ConfigError(
                f"{text}: a file URI needs an absolute path; expected file:///folder (3 slashes)"
            )
        decoded, literal = Path(os.fsdecode(unquote_to_bytes(os.fsencode(rest)))), Path(rest)
        if "\0" in str(decoded):
            raise ConfigError(f"{text}: holds %00; expected the name of a file or a folder")
        return (
            literal if decoded != literal and literal.exists() and not decoded.exists() else decoded
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(
            f"{text}: this system knows no such home folder; expected another path, or set HOME"
        ) from None


def absolute_uri(text: str) -> str:
    """Return ``text`` if it has a scheme, else its absolute path: workers have other folders."""
    return text if ":" in text.partition("/")[0] else str(local_path(text))


def file_uri(path: Path) -> str:
    """Return the URI that ``local_path`` turns into ``path`` again.

    Only ``%`` is encoded, so that people can read it.
    """
    return _SCHEME + str(path).replace("%", "%25")
