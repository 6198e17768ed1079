"""The configuration of a run as JSON Schema, for the documentation, editors and the chart."""

import json
from typing import Any, cast

from job.config.documents import preset_names
from job.config.spec import RunSpec


def run_schema() -> dict[str, Any]:
    """Return the schema of ``RunSpec``: sections in place of references, descriptions in a line."""
    schema = RunSpec.model_json_schema()
    return cast(dict[str, Any], _inlined(schema, schema["$defs"]))


def editor_schema() -> str:
    """Return the schema of ``run.yaml`` as a file for editors, with the names of the presets."""
    document = run_schema()
    document["properties"]["preset"] |= {"anyOf": [{"enum": preset_names()}, {"type": "null"}]}
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}
    return json.dumps(document, indent=1) + "\n"


def without_null(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that is set: ``value`` itself if it cannot be unset."""
    kinds = value.get("anyOf", [value])
    others = [kind for kind in kinds if kind.get("type") != "null"]
    return others[0] if len(others) < len(kinds) else value


def _inlined(schema: Any, sections: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, sections) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(sections[schema["$ref"].rpartition("/")[2]], sections)
    inlined = {
        name: {key: _inlined(each, sections) for key, each in value.items()}
        if name == "properties"
        else _inlined(value, sections)
        for name, value in schema.items()
        if name not in ("$defs", "title")
    }
    if "description" in inlined:
        inlined["description"] = " ".join(str(inlined["description"]).split())
    return inlined
