"""Configuration from environment variables: ``DCGAN_SET_TRAINING__STEPS=100``.

A name is the prefix and a key in capitals, with ``__`` for each dot; a value is YAML, as in
``--set``. The prefix is not ``DCGAN_``, which ``DCGAN_TRACEBACK`` has, too, and the variables that
Kubernetes sets for a service named ``dcgan-train``.
"""

from collections.abc import Mapping
from typing import Any

from job.config.documents import merge, parse_value
from job.config.errors import ConfigError
from job.config.keys import NO_CREDENTIALS, SECRET_NAME, nearest_key, value_keys

PREFIX = "DCGAN_SET_"


def variable_of(key: str) -> str:
    """Return the name of the variable that sets ``key``."""
    return PREFIX + key.replace(".", "__").upper()


def read_environment(environment: Mapping[str, str], section: str = "") -> dict[str, Any]:
    """Return the keys (of a section) that variables set; ``ConfigError`` for a wrong or empty one.

    Kubernetes may set others with this prefix, for a service ``dcgan-set-...``: a command that
    reads one section only must not fail because of them.
    """
    prefix = variable_of(f"{section}.") if section else PREFIX
    known = {variable_of(key): key for key in value_keys()}
    document: dict[str, Any] = {}
    for name in sorted(name for name in environment if name.startswith(prefix)):
        if name not in known:
            raise ConfigError(_unknown(name))
        if not environment[name].strip():
            raise ConfigError(
                f"{name} is empty; expected a value, or null for an unset one. Remove the variable"
                " to leave the key unchanged"
            )
        merge(document, parse_value(known[name], environment[name], name))
    return document


def _unknown(name: str) -> str:
    key = name.removeprefix(PREFIX).lower().replace("__", ".")
    if SECRET_NAME.search(key):
        return f"{name}: {NO_CREDENTIALS}"
    nearest = nearest_key(key, list(value_keys()))
    hint = (
        f"did you mean {variable_of(nearest)}?"
        if nearest
        else f"expected a key in capitals with __ for each dot: {variable_of('training.steps')}"
    )
    return f"{name}: unknown key {key}; {hint}"
