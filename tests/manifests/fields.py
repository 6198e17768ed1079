"""Two sets of objects, compared field by field.

for difference in differences(chart_objects, kustomize_objects):
    difference.path, difference.left, difference.right
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.charts.helm import Object

_HASHED = {"RayJob": r"-[0-9a-f]{8}$", "ConfigMap": r"(?<=-config)-([0-9a-f]{8}|[a-z0-9]{10})$"}
_ABSENT = "(absent)"


class Difference(NamedTuple):
    """``path`` is KIND/NAME and the keys of one value: RayJob/dcgan-train.spec.backoffLimit."""

    path: str
    left: Any
    right: Any


def differences(left: list[Object], right: list[Object]) -> list[Difference]:
    """Return all values that differ; names are compared without the hash of their content."""
    sides = [dict(_values(_without_hashes(objects))) for objects in (left, right)]
    paths = sorted(set(sides[0]) | set(sides[1]))
    found = [Difference(path, *(side.get(path, _ABSENT) for side in sides)) for path in paths]
    return [each for each in found if each.left != each.right]


def _without_hashes(objects: list[Object]) -> list[Object]:
    """Also in references, but only in those to an object's name: others remain a difference."""
    text = json.dumps(objects)
    for each in objects:
        name = each["metadata"]["name"]
        if each["kind"] in _HASHED and (short := re.sub(_HASHED[each["kind"]], "", name)) != name:
            text = text.replace(json.dumps(name), json.dumps(short))
    made: list[Object] = json.loads(text)
    return made


def _values(objects: list[Object]) -> Iterator[tuple[str, Any]]:
    for each in objects:
        yield from _leaves(f"{each['kind']}/{each['metadata']['name']}", each)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield all values by path. Files in a ConfigMap are parsed; lists keep their order."""
    if isinstance(value, str) and path.endswith((".yaml", ".json")):
        value = yaml.safe_load(value) if path.endswith(".yaml") else json.loads(value)
    if not isinstance(value, dict | list) or not value:
        yield path, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(f"{path}.{key}", inner)
