"""A tool's parameters in the JSON Schema that Vapi's types know: nine keys, each property with a type. Pure.

(`JsonSchema` of the official SDK 3.0; `callscope check --against-vapi` holds us to it.) What else a schema says goes
into the description, in words: the model that reads it still knows, and the tool itself checks the arguments anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["vapi_schema"]

_KNOWN = ("title", "description", "enum", "format", "pattern", "required")
_DEEPEST = 16  # a type that holds itself must end somewhere
_WORDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "default": "{} when left out",
}
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def vapi_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object, as Vapi takes it. `$defs` are filled in where they are referred to."""
    return _told(schema, schema.get("$defs") or {}, 0)


def _told(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {"type": "object"}
    schema, others = _one_of(_filled_in(schema, defs), defs)
    told: dict[str, Any] = {"type": _type(schema)}
    told |= {key: schema[key] for key in _KNOWN if key in schema}
    if "const" in schema:
        told["enum"] = [schema["const"]]
    if isinstance(schema.get("properties"), Mapping):
        told["properties"] = {name: _told(one, defs, depth + 1) for name, one in schema["properties"].items()}
    items = schema.get("items") or next(iter(schema.get("prefixItems") or ()), None)
    if told["type"] == "array":
        told["items"] = _told(items, defs, depth + 1) if isinstance(items, Mapping) else {"type": "string"}
    words = [_WORDS[key].format(_plain(schema[key])) for key in _WORDS if schema.get(key) is not None]
    words += [f"or {_type(one)}" for one in others]
    if words:
        told["description"] = f"{schema.get('description', '')} ({', '.join(words)})".strip()
    return told


def _filled_in(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what it refers to; what it says itself goes before that."""
    for _ in range(_DEEPEST):
        if "$ref" not in schema:
            break
        meant = defs.get(str(schema["$ref"]).rsplit("/", 1)[-1]) or {}
        schema = {**meant, **{key: held for key, held in schema.items() if key != "$ref"}}
    return schema


def _one_of(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """One choice of several, `null` being none, and the others."""
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            filled = [_filled_in(one, defs) for one in schema[key]]
            first, *others = [one for one in filled if one.get("type") != "null"] or [{}]
            return {**first, **{name: held for name, held in schema.items() if name != key}}, others
    return schema, []


def _type(schema: Mapping[str, Any]) -> str:
    given = schema.get("type")
    if isinstance(given, list):
        given = next((one for one in given if one != "null"), None)
    if isinstance(given, str) and given != "null":
        return given
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if values:
        return _NAMES.get(type(values[0]), "string")
    return "object" if "properties" in schema else "string"


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
