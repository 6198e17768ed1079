"""Read YAML into plain dictionaries: a file, a preset, ``--set key=value``. Knows no key."""

import difflib
import json
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml

from job.config.errors import ConfigError

_PRESETS = resources.files("job.config") / "presets"


_MAX_DEPTH = 20  # of a stored document; a run has 4


class _Loader(yaml.SafeLoader):
    """Safe YAML without dates (``uri: 2026-02-03`` is text) and without duplicate keys.

    Plain YAML silently takes the last of two.
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

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = super().construct_yaml_int(node)
        if abs(number) >= 1 << 64:  # Python refuses to print some of these
            raise yaml.constructor.ConstructorError(
                None, None, "the number has over 64 bits", node.start_mark
            )
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _load(text: str | bytes) -> Any:
    """Return what ``text`` holds; ``YAMLError`` also for what escapes from PyYAML (`!!int ""`)."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise yaml.MarkedYAMLError(problem=f"a value is not of its kind ({error})") from error
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem="nested too deeply") from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def preset_names() -> list[str]:
    """Return the names that ``--preset`` takes."""
    names = (entry.name for entry in _PRESETS.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def read_preset(name: Any) -> dict[str, Any]:
    """Return the keys of a preset; ``ConfigError`` with the nearest name if there is none."""
    if name not in preset_names():
        nearest = difflib.get_close_matches(str(name), preset_names(), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(f"preset is {name!r}; expected one of {', '.join(preset_names())}{hint}")
    text = _PRESETS.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return cast(dict[str, Any], _load(text))


def read_file(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file; ``ConfigError`` with line and column if it is not YAML."""
    try:  # UTF-8, or UTF-16 with its mark, which PowerShell writes
        document = _load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{path}: not a text file; expected YAML in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, " ".join(filter(None, (error.context, error.problem)))
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = ". Indent with spaces: YAML takes no tabs" if "\\t" in problem else ""
        raise ConfigError(f"{path}: not valid YAML{where}: {problem}{hint}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: found {kind_text(document)} at the top; expected keys such as uri: and data:"
        )
    return document


def read_override(text: str) -> dict[str, Any]:
    """Return ``a.b=1`` as ``{"a": {"b": 1}}``; ``ConfigError`` if it is not ``key=YAML``."""
    name, separator, value = text.partition("=")
    if not separator or not all(part.strip() for part in name.split(".")):
        raise ConfigError(f"--set {text}: expected key=value, for example --set workers.count=2")
    return parse_value(name.strip(), value, f"--set {text}")


def parse_value(key: str, value: str, source: str) -> dict[str, Any]:
    """Return the YAML ``value`` below the dotted ``key``; ``ConfigError`` names its ``source``."""
    try:
        parsed = _load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: the value is not valid YAML; quote it") from error
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return cast(dict[str, Any], parsed)


def lookup(document: Mapping[str, Any], key: str) -> Any:
    """Return the value of the dotted ``key``; ``KeyError`` if ``document`` has none."""
    found: Any = document
    for part in key.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(key)
        found = found[part]
    return found


def merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Put the keys of ``source`` into ``target``, section by section; ``source`` wins."""
    for name, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            target[name] = dict(target[name])  # a YAML anchor puts one section at several keys
            merge(target[name], value)
        else:
            target[name] = dict(value) if isinstance(value, Mapping) else value


def setting_text(name: str, value: Any) -> str:
    """Return ``name: value`` in YAML, on one line."""
    style = '"' if isinstance(value, str) and "\n" in value else None  # others: on several lines
    text = yaml.safe_dump([value], default_flow_style=True, default_style=style, width=math.inf)
    return f"{name}: {text.strip()[1:-1]}"


def read_stored(data: bytes) -> dict[str, Any]:
    """Return the values of a ``run.yaml`` from a run folder by dotted key; ``{}`` if it is not one.

    Anybody may have written it. One with aliases is not read: they can expand without limit; nor
    one that is nested deeply, which takes the square of its size.
    """
    depth = 0
    try:
        for event in yaml.parse(data, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent):
                return {}
        document = _load(data)
        json.dumps(document)  # bytes, sets and the like are never the value of a key
    except (yaml.YAMLError, ValueError, TypeError):
        return {}
    return flat(document) if isinstance(document, dict) else {}


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one with dotted keys."""
    if not isinstance(values, dict):
        return {prefix.rstrip("."): values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.")
    return found


def kind_text(value: Any) -> str:
    """Return the kind of a YAML value for a message."""
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
