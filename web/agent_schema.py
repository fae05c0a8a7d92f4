"""The JSON Schema of the agent file, for editors: `callscope check --schema`.

Made from the types that `callscope check` reads by, so that both say the same about form. What several values mean
together, and what stands outside the file (tools, clips, the environment), only `check` knows.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.agent import Agent
from web.agent_env import REFERENCE
from web.agent_words import WORDS

__all__ = ["agent_schema", "schema_text", "undescribed"]

SCHEMA_NAME = "agent.schema.json"  # as `callscope new` puts it beside the file
_REFERENCE = {"type": "string", "pattern": REFERENCE, "description": "${NAME} or ${NAME:-default}: the environment"}
_LIMITS = ("pattern", "minLength", "maxLength", "enum")
_NOT_TEXT = ("integer", "number", "boolean")


def agent_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, with a description for each key."""
    (root, *_), parts = msgspec.json.schema_components([Agent], ref_template="#/$defs/{name}")
    del root
    defs = {name: _struct(name, part) for name, part in parts.items()}
    agent = defs.pop("Agent")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Callscope agent",
        **{key: value for key, value in agent.items() if key != "title"},
        "$defs": {**defs, "reference": _REFERENCE},
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain


def schema_text() -> str:
    """The schema as a file holds it."""
    return msgspec.json.format(msgspec.json.encode(agent_schema()), indent=2).decode() + "\n"


def undescribed() -> list[str]:
    """Keys without a description: there should be none."""
    schema = agent_schema()
    structs = {"Agent": schema, **schema["$defs"]}
    return [
        f"{name}.{key}"
        for name, struct in structs.items()
        for key, value in struct.get("properties", {}).items()
        if not value.get("description")
    ]


def _struct(name: str, part: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in part:
        return _open(part)
    properties = {key: _key(f"{name}.{key}", value) for key, value in part["properties"].items()}
    return {**part, "properties": properties}


def _key(called: str, value: dict[str, Any]) -> dict[str, Any]:
    """One key: its type, open for references; its words; its default, if that says anything."""
    default = {"default": value["default"]} if value.get("default") not in ({}, None) else {}
    own = value.get("description")
    plain = {name: held for name, held in value.items() if name not in ("default", "description")}
    words = own or WORDS.get(called) or WORDS.get(f"ToolPolicy.{called.partition('.')[2]}")
    return {**({"description": words} if words else {}), **_open(plain), **default}


def _open(value: dict[str, Any]) -> dict[str, Any]:
    """The same type, with `${…}` allowed wherever a value of one line may stand."""
    value = {key: _inside(key, held) for key, held in value.items()}
    if "anyOf" in value:
        choices = [flat for one in value["anyOf"] for flat in (one["anyOf"] if set(one) == {"anyOf"} else [one])]
        return {**value, "anyOf": [one for n, one in enumerate(choices) if one not in choices[:n]]}
    is_narrow_text = any(limit in value for limit in _LIMITS)
    if value.get("type") in _NOT_TEXT or (is_narrow_text and value.get("type", "string") == "string"):
        return {"anyOf": [value, {"$ref": "#/$defs/reference"}]}
    return value


def _inside(key: str, held: Any) -> Any:
    if key in ("items", "additionalProperties") and isinstance(held, dict):
        return _open(held)
    if key in ("anyOf", "prefixItems"):
        return [_open(one) for one in held]
    return held
