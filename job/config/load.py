"""From YAML, a preset and ``--set`` to a checked ``RunSpec``, and back.

Later sources win, key by key: field defaults < preset < config file < ``--set key=value``. Values
are checked against the declared type and range of their field; an unknown key is refused with the
nearest known one.

    spec = load_run(preset="fashion", path=Path("run.yaml"), overrides=["workers.count=4"])
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from job.config.byte_size import EXAMPLES, parse_bytes
from job.config.check import check_model, check_run
from job.config.errors import ConfigError
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.config.storage import StorageSpec

SECRET_NAME = re.compile(r"secret|password|passwd|token|credential|access_key", re.IGNORECASE)


def preset_names() -> list[str]:
    """Names that ``--preset`` takes."""
    folder = resources.files("job.config") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_run(
    preset: str | None = None,
    path: Path | None = None,
    overrides: Iterable[str] = (),
    *,
    check: bool = True,
) -> RunSpec:
    """The checked configuration of a run.

    ``ConfigError`` names the key, what was found and what was expected.
    """
    merged: dict[str, Any] = {}
    document = _read_document(path) if path else {}
    for override in overrides:
        _merge(document, _parse_override(override))
    _keep_own_epochs(document)
    preset = preset or document.get("preset")
    if preset is not None:
        _merge(merged, _read_preset(preset))
    _merge(merged, {**document, "preset": preset})
    spec: RunSpec = _build(RunSpec, merged, "")
    if check:
        check_run(spec)
    return spec


def load_storage(overrides: Iterable[str]) -> StorageSpec:
    """Return the storage section that ``storage.KEY=VALUE`` overrides make.

    Raise ``ConfigError`` for any other key.
    """
    document: dict[str, Any] = {}
    for override in overrides:
        _merge(document, _parse_override(override))
        if set(document) != {"storage"} or not isinstance(document["storage"], dict):
            raise ConfigError(
                f"--set {override}: expected a key of the storage section, such as"
                " storage.request_payer=requester"
            )
    spec: StorageSpec = _build(StorageSpec, document.get("storage", {}), "storage.")
    return spec


def _keep_own_epochs(document: dict[str, Any]) -> None:
    """Switch ``training.min_steps`` off if the user chose ``training.epochs``.

    It is for the epochs of a preset.
    """
    training = document.get("training")
    if isinstance(training, dict) and training.get("epochs") is not None:
        training.setdefault("min_steps", 0)


def build_model(values: Mapping[str, Any]) -> ModelSpec:
    """Return the checked ``model`` section of a configuration.

    ``ConfigError`` as of ``load_run``.
    """
    model: ModelSpec = _build(ModelSpec, values, "model.")
    check_model(model)
    return model


def to_dict(spec: Any) -> dict[str, Any]:
    """Plain nested dictionaries and lists, ready for YAML or JSON."""
    return {field.name: _plain(getattr(spec, field.name)) for field in dataclasses.fields(spec)}


def to_yaml(spec: RunSpec) -> str:
    """The resolved configuration as YAML that ``load_run`` reads back to an equal value."""
    return yaml.safe_dump(to_dict(spec), sort_keys=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return list(value) if isinstance(value, tuple) else value


def _read_preset(name: Any) -> dict[str, Any]:
    if name not in preset_names():
        nearest = difflib.get_close_matches(str(name), preset_names(), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(f"preset is {name!r}; expected one of {', '.join(preset_names())}{hint}")
    text = (resources.files("job.config") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return typing.cast(dict[str, Any], _parse_yaml(text))


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = _parse_yaml(
            path.read_bytes()
        )  # UTF-8, or UTF-16 with its mark, which PowerShell writes
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{path}: not a text file; expected YAML in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, " ".join(filter(None, (error.context, error.problem)))
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = ". Indent with spaces: YAML takes no tabs" if "\\t" in problem else ""
        raise ConfigError(f"{path}: not valid YAML{where}: {problem}{hint}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid YAML: nested too deeply") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: found {_kind(document)} at the top; expected keys such as uri: and data:"
        )
    return document


def _parse_override(text: str) -> dict[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not all(part.strip() for part in name.split(".")):
        raise ConfigError(f"--set {text}: expected key=value, for example --set workers.count=2")
    try:
        parsed = _parse_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not valid YAML; quote it") from error
    for part in reversed(name.strip().split(".")):
        parsed = {part: parsed}
    return typing.cast(dict[str, Any], parsed)


class _Loader(yaml.SafeLoader):
    """Safe YAML without dates (``uri.

    2026-02-03`` is text) and without keys given twice, of which plain YAML silently takes the last.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in names:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is there twice", key.start_mark
                )
            names.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse_yaml(text: str | bytes) -> Any:
    return yaml.load(text, Loader=_Loader)


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for name, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = dict(value) if isinstance(value, Mapping) else value


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in fields:
            raise ConfigError(_unknown_key(str(name), prefix))
    built = {}
    for name, value in values.items():
        full_name = prefix + name
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{full_name} is {value!r}; expected a section with keys")
            built[name] = _build(typing.cast(type, hints[name]), value, full_name + ".")
        else:
            built[name] = _convert(
                full_name, _in_bytes(full_name, value, fields[name].metadata), hints[name]
            )
            _check_limits(full_name, built[name], fields[name].metadata)
    return cls(**built)


def _unknown_key(name: str, prefix: str) -> str:
    if SECRET_NAME.search(name):
        return (
            f"{prefix}{name}: credentials do not belong in a configuration; use the standard AWS"
            " variables, a profile or a role"
        )
    known = [key for key in all_keys() if key != prefix.rstrip(".")]
    nearest = difflib.get_close_matches((prefix + name).lower(), known, n=1, cutoff=0.6)
    if not nearest:
        nearest = [key for key in known if key.rpartition(".")[2] == name.lower()][:1]
    here = sorted(
        key.removeprefix(prefix)
        for key in known
        if key.startswith(prefix) and "." not in key.removeprefix(prefix)
    )
    hint = f"; did you mean {nearest[0]}?" if nearest else f"; known here: {', '.join(here)}"
    return f"{prefix}{name}: unknown key{hint}"


def all_keys(cls: type = RunSpec, prefix: str = "") -> list[str]:
    """Every key of ``cls``, dotted, sections included."""
    names: list[str] = []
    for name, hint in typing.get_type_hints(cls).items():
        names.append(prefix + name)
        if dataclasses.is_dataclass(hint):
            names += all_keys(typing.cast(type, hint), prefix + name + ".")
    return names


def _in_bytes(name: str, value: Any, metadata: Mapping[str, Any]) -> Any:
    """A size given as text with a unit, as a number; anything else as it is."""
    if metadata["unit"] != "bytes" or not isinstance(value, str):
        return value
    if (num_bytes := parse_bytes(value)) is None:
        raise ConfigError(
            f"{name} is {value!r}; expected a number of bytes, for example {EXAMPLES}"
        )
    return num_bytes


def _convert(name: str, value: Any, hint: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    wanted = next(option for option in options if option is not type(None))
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        number = _as_float(value)  # YAML 1.1 reads 2e-4 as a string
        if number is not None:
            return number
    if wanted is str and isinstance(value, str):
        return value
    if typing.get_origin(wanted) is tuple:
        return _convert_tuple(name, value, wanted)
    raise ConfigError(f"{name} is {value!r} ({_kind(value)}); expected {_kind_of_type(wanted)}")


def _convert_tuple(name: str, value: Any, wanted: Any) -> tuple[int, ...]:
    lengths = typing.get_args(wanted)
    exact = None if lengths[-1] is Ellipsis else len(lengths)
    good = (
        isinstance(value, (list, tuple))
        and value
        and all(
            isinstance(entry, int) and not isinstance(entry, bool) and entry > 0 for entry in value
        )
    )
    if exact and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return (value,) * exact  # image_size: 64
    if not good or (exact and len(value) != exact):
        raise ConfigError(
            f"{name} is {value!r}; expected a list of {exact or 'one or more'} positive whole"
            " numbers,"
            f" for example [{'28, 28' if exact else '128, 64'}]"
        )
    return tuple(value)


def _as_float(value: int | float | str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_limits(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if value is None:
        return
    if metadata["choices"] and value not in metadata["choices"]:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(metadata['choices'])}")
    if metadata["minimum"] is not None and value < metadata["minimum"]:
        raise ConfigError(f"{name} is {value}; expected at least {metadata['minimum']}")
    if metadata["maximum"] is not None and value > metadata["maximum"]:
        raise ConfigError(f"{name} is {value}; expected at most {metadata['maximum']}")
    if metadata["above"] is not None and value <= metadata["above"]:
        raise ConfigError(f"{name} is {value}; expected more than {metadata['above']}")


def _kind(value: Any) -> str:
    names = {
        bool: "a true/false value",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a section",
        type(None): "nothing",
    }
    return names.get(type(value), type(value).__name__)


def _kind_of_type(wanted: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[wanted]
