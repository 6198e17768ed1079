"""From a preset, YAML, environment variables and ``--set`` to a checked ``RunSpec``, and back.

    spec = load_run(preset="fashion", path=Path("run.yaml"), overrides=["workers.count=4"])

Later sources win, key by key: defaults < preset < file < environment < ``--set``. A wrong value is
refused with its key, what was found and what was expected; an unknown key with the nearest known
one.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from job.config.check import check_model, check_run
from job.config.documents import kind_text, lookup, merge, read_file, read_override, read_preset
from job.config.environment import read_environment, variable_of
from job.config.errors import ConfigError
from job.config.fields import Section
from job.config.keys import unknown_key, value_keys
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.config.storage import StorageSpec
from job.config.validation import InvalidValue, dotted, validate

DEFAULT, ENVIRONMENT = "default", "environment"

_S = TypeVar("_S", bound=Section)


class Layer(NamedTuple):
    """The values of one source; a later layer wins, key by key."""

    origin: str
    values: dict[str, Any]


def load_run(
    preset: str | None = None,
    path: Path | None = None,
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    check: bool = True,
) -> RunSpec:
    """Return the checked configuration of a run; ``ConfigError`` for the first mistake.

    ``environment`` are the variables of the process; None: none of them counts.
    """
    spec = merged(read_layers(preset, path, overrides, environment))
    if check:
        check_run(spec)
    return spec


def read_layers(
    preset: str | None = None,
    path: Path | None = None,
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> list[Layer]:
    """Return the sources of a run: its preset, or no values without one, and then the others."""
    own = [Layer("file", read_file(path))] if path else []
    own.append(Layer(ENVIRONMENT, read_environment(environment or {})))
    if preset is not None:
        own.append(Layer("--preset", {"preset": preset}))
    own += [Layer("--set", read_override(override)) for override in overrides]
    document = _document(own)
    training = document.get("training")
    if (
        isinstance(training, dict)
        and training.get("epochs") is not None
        and "min_steps" not in training
    ):  # which is for the epochs of a preset
        own.append(Layer("own epochs", {"training": {"min_steps": 0}}))
    if (preset := document.get("preset")) is None:
        return [Layer(DEFAULT, {}), *own]
    return [Layer(f"preset {preset}", read_preset(preset)), *own]


def merged(layers: Sequence[Layer]) -> RunSpec:
    """Return the configuration of ``layers``, not checked across keys."""
    preset, *own = layers
    values = dict(preset.values)
    merge(values, _document(own))
    return _validated(RunSpec, values, origins=origins(layers))


def origins(layers: Sequence[Layer]) -> dict[str, str]:
    """Return the origin of the value of every key."""
    found = dict.fromkeys(value_keys(), DEFAULT)
    for layer in layers:
        found |= {key: layer.origin for key in found if _has(layer.values, key)}
    return found


def load_storage(
    overrides: Iterable[str],
    given: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> StorageSpec:
    """Return the storage section of ``storage.KEY=VALUE`` overrides, then the ``given`` keys.

    Below them, that of ``environment``. Raise ``ConfigError`` for any other key of an override.
    """
    document = {"storage": read_environment(environment or {}, "storage").get("storage", {})}
    for override in overrides:
        merge(document, read_override(override))
        if set(document) != {"storage"} or not isinstance(document["storage"], dict):
            raise ConfigError(
                f"--set {override}: expected a key of the storage section, such as"
                " storage.request_payer=requester"
            )
    return _validated(StorageSpec, {**document["storage"], **given}, "storage")


def build_model(values: Mapping[str, Any]) -> ModelSpec:
    """Return the checked ``model`` section; ``ConfigError`` for the first mistake."""
    model = _validated(ModelSpec, dict(values), "model")
    check_model(model)
    return model


def to_dict(section: Section) -> dict[str, Any]:
    """Return plain nested dictionaries and lists, ready for YAML or JSON."""
    return section.model_dump(mode="json")


def to_yaml(spec: RunSpec) -> str:
    """Return the resolved configuration as YAML that ``load_run`` reads back to an equal value."""
    return yaml.safe_dump(to_dict(spec), sort_keys=False)


def _document(layers: Iterable[Layer]) -> dict[str, Any]:
    """Return the values that the user gave; an empty section must not remove those of a preset."""
    document: dict[str, Any] = {}
    for layer in layers:
        merge(document, layer.values)
    return document


def _has(values: Mapping[str, Any], key: str) -> bool:
    try:
        lookup(values, key)
    except KeyError:
        return False
    return True


def _validated(
    section: type[_S], values: Any, prefix: str = "", origins: Mapping[str, str] | None = None
) -> _S:
    try:
        return validate(section, values)
    except InvalidValue as wrong:
        path = (prefix, *wrong.path) if prefix else wrong.path
        if wrong.is_unknown:
            raise ConfigError(unknown_key(dotted(path[:-1]), str(path[-1]))) from None
        key, found = dotted(path), f"{wrong.value!r}"
        if wrong.kind.endswith("_type") and wrong.kind != "model_type":
            found += f" ({kind_text(wrong.value)})"
        is_hidden = (origins or {}).get(key) == ENVIRONMENT
        source = f" (from {variable_of(key)})" if is_hidden else ""
        raise ConfigError(f"{key} is {found}; expected {wrong.expected}{source}") from None
