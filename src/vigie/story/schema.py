"""Every key of an experiment, told from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

WORDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "table",
    "null": "none",
}
"""What types of a JSON schema are called."""


class _EveryDefault(GenerateJsonSchema):
    """A schema that tells defaults that are made anew each time, too."""

    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        factory: Any = schema.get("default_factory")
        return super().get_default_value(schema) if factory is None else factory()


def describe(settings: type[BaseModel]) -> str:
    """Document every key: its place, type, default and meaning, one line each.

    Examples
    --------
    >>> from vigie.story.experiment import Experiment
    >>> print(describe(Experiment).splitlines()[0])
    app                              text, required: name of the application, see `vigie apps`
    """
    schema = settings.model_json_schema(schema_generator=_EveryDefault)
    lines = [f"{place:32} {told}" for place, told in _keys(schema, schema.get("$defs", {}), "")]
    return "\n".join(lines)


def _keys(table: dict[str, Any], shelf: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for name, entry in table.get("properties", {}).items():
        place = f"{above}{name}"
        parts = list(_tables(entry, shelf))
        if not parts:
            need = "required" if name in table.get("required", ()) else f"default {entry.get('default', 'none')!r}"
            told = f"{_type(entry)}, {need}"
            yield place, f"{told}: {entry['description']}" if entry.get("description") else told
        for part, inner in parts:
            yield from _keys(inner, shelf, f"{place}{part}.")


def _tables(entry: dict[str, Any], shelf: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Tables behind a key: one, several to choose from, or a list of them."""
    options = [entry, *entry.get("allOf", ()), *entry.get("anyOf", ()), *entry.get("oneOf", ())]
    for option in options:
        if "$ref" in option:
            yield "", shelf[option["$ref"].rsplit("/", 1)[-1]]
        elif "$ref" in option.get("items", {}):
            yield "[]", shelf[option["items"]["$ref"].rsplit("/", 1)[-1]]


def _type(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return "one of " + ", ".join(map(repr, entry["enum"]))
    if "const" in entry:
        return repr(entry["const"])
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(map(_type, entry["anyOf"])))
    if isinstance(held := entry.get("additionalProperties"), dict):
        return f"table of {_type(held)}s"
    return WORDS.get(entry.get("type", ""), "value")
