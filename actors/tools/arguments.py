"""What a function's parameters demand of the model's arguments: a JSON Schema, and a reader for what comes.

msgspec's types as a rule; pydantic's where the function itself uses them, so that nobody else pays for importing it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from actors.tools.port import BadArguments

Parameters = Mapping[str, tuple[Any, Any]]  # name → annotation, default or `inspect.Parameter.empty`
MOST_NESTING = 20


@dataclass(frozen=True, slots=True)
class ArgumentReader:
    """The schema that the model is given, and what reads its arguments."""

    schema: dict[str, Any]
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]


def reader_of(parameters: Parameters) -> ArgumentReader:
    """The reader for these parameters.

    Raises:
        TypeError, ValueError, RecursionError: a type has no JSON Schema, or holds itself.
    """
    if any(_is_pydantic(annotation) for annotation, _ in parameters.values()):
        return _by_pydantic(parameters)
    return _by_msgspec(parameters)


def _by_msgspec(parameters: Parameters) -> ArgumentReader:
    fields: list[Any] = []
    for name, (annotation, default) in parameters.items():
        fields.append((name, annotation) if default is inspect.Parameter.empty else (name, annotation, default))
    arguments = msgspec.defstruct("Arguments", fields, kw_only=True)
    names = arguments.__struct_fields__

    def read(given: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            fitting = msgspec.convert(dict(given), arguments, strict=False)
        except (msgspec.ValidationError, RecursionError) as misfit:
            raise BadArguments(str(misfit)) from None
        return {name: getattr(fitting, name) for name in names}

    return ArgumentReader(plain_schema(msgspec.json.schema(arguments)), read)


def _by_pydantic(parameters: Parameters) -> ArgumentReader:
    import pydantic  # noqa: PLC0415 — only where a tool uses it

    fields: dict[str, Any] = {
        name: (annotation, ... if default is inspect.Parameter.empty else default)
        for name, (annotation, default) in parameters.items()
    }
    model = pydantic.create_model("Arguments", **fields)

    def read(given: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            fitting = model.model_validate(dict(given))
        except pydantic.ValidationError as misfit:
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in misfit.errors()[:5])
            raise BadArguments(said) from None
        return {name: getattr(fitting, name) for name in fields}

    return ArgumentReader(plain_schema(model.model_json_schema()), read)


def _is_pydantic(annotation: Any) -> bool:
    """Whether pydantic has a hand in this annotation, anywhere in it."""
    if "pydantic" not in sys.modules:
        return False
    kinds = annotation if isinstance(annotation, type) else type(annotation)
    if any(kind.__module__.partition(".")[0] in ("pydantic", "pydantic_core") for kind in kinds.__mro__):
        return True
    inside = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return any(_is_pydantic(one) for one in inside if not isinstance(one, str | int | float | None))


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object's schema without `$ref` and `$defs`, which Vapi's own validation does not know (vapi.md §8.1).

    Raises:
        RecursionError: a type holds itself.
    """
    definitions = schema.get("$defs", {})

    def plain(part: Any, depth: int) -> Any:
        if depth > MOST_NESTING:
            raise RecursionError("a type holds itself; give the model a flat one")
        if isinstance(part, list):
            return [plain(one, depth) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            named = definitions[part["$ref"].rpartition("/")[2]]
            rest = {key: value for key, value in part.items() if key != "$ref"}
            return plain({**named, **rest}, depth + 1)
        return {key: plain(value, depth + 1) for key, value in part.items() if key != "title" or not _is_text(value)}

    whole = plain({key: value for key, value in schema.items() if key != "$defs"}, 0)
    return {key: whole[key] for key in ("type", "properties", "required") if key in whole}


def _is_text(value: Any) -> bool:
    """A title is text; a property of that name is an object."""
    return isinstance(value, str)
