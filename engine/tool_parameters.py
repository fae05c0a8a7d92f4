"""Parameters of a tool as an agent file writes them: the short form, its JSON Schema, and arguments that fit it. Pure.

Models write numbers as texts and put blanks around words; that much is taken. Anything else that does not fit is said
in words for the model, which never hold the value itself: it may be the caller's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MOST_CHARS = 4000  # of one text, where the file says nothing
MOST_PATTERN_CHARS = 200  # of a text with a pattern: a clumsy pattern is slow on a long text
LARGEST_INTEGER = 2**53 - 1  # JSON numbers beyond it are not the same everywhere
MOST_DIGITS = 40  # of a number that comes as text
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # all but tab and newline
_FORMATS: dict[str, tuple[dict[str, str], str]] = {
    "date": ({"format": "date"}, "a date like 2026-03-31"),
    "time": ({"pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}, "a time from 00:00 to 23:59, like 18:30"),
    "date-time": ({"format": "date-time"}, "a date and time like 2026-03-31T18:30:00+02:00"),
    "phone": ({"pattern": r"^\+[1-9][0-9]{6,14}$"}, "a phone number with + and country code"),
}
Count = Annotated[int, Meta(ge=0, le=10_000)]


class Misfit(ValueError):
    """Arguments that do not fit; the text names each and says what it must be, for the model."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One parameter. The keys are JSON Schema's, in this file's spelling; `optional` stands here, not in a list."""

    type: Literal["string", "integer", "number", "boolean", "array", "object"] = "string"
    description: str = ""
    optional: bool = False
    default: Any = None  # taken when the model gives none; makes it optional
    enum: tuple[Any, ...] = ()
    pattern: str = ""  # texts; looked for as in JSON Schema: write ^…$ for the whole text
    format: Literal["", "date", "time", "date-time", "phone"] = ""
    min_length: Count = 0
    max_length: Count | None = None
    minimum: float | None = None
    maximum: float | None = None
    items: Parameter | None = None  # lists
    min_items: Count = 0
    max_items: Count = 100
    properties: dict[str, Parameter] = {}  # objects


def schema_of(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The JSON Schema of an object with these parameters, as Vapi's model gets it."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(one) for name, one in parameters.items()},
    }
    required = [name for name, one in parameters.items() if not _is_optional(one)]
    return {**schema, "required": required} if required else schema


def _schema(one: Parameter) -> dict[str, Any]:
    if one.type == "object":
        schema = schema_of(one.properties)
    else:
        schema = {"type": one.type, **_FORMATS.get(one.format, ({}, ""))[0]}
    said = {
        "description": one.description or None, "default": one.default, "enum": list(one.enum) or None,
        "pattern": one.pattern or None, "minLength": one.min_length or None, "maxLength": one.max_length,
        "minimum": _whole(one.minimum), "maximum": _whole(one.maximum), "minItems": one.min_items or None,
    }  # fmt: skip
    schema |= {key: value for key, value in said.items() if value is not None}
    if one.type == "array":
        schema |= {"items": _schema(one.items or Parameter()), "maxItems": one.max_items}
    return schema


def _is_optional(one: Parameter) -> bool:
    return one.optional or one.default is not None


def _whole(number: float | None) -> float | None:
    return int(number) if number is not None and number.is_integer() else number


def fit(parameters: Mapping[str, Parameter], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the tool takes them. What no parameter asks for is left out.

    Raises:
        Misfit: says every one that does not fit.
    """
    faults: list[str] = []
    fitted = _fit_object(parameters, arguments, "", faults)
    if faults:
        raise Misfit("; ".join(faults[:10]))
    return fitted


def _fit_object(
    parameters: Mapping[str, Parameter], given: Mapping[Any, Any], at: str, faults: list[str]
) -> dict[str, Any]:
    fitted: dict[str, Any] = {}
    for name, one in parameters.items():
        value = given.get(name)
        if value is None or (value == "" and _is_optional(one)):  # models write null and "" for what they leave out
            if one.default is not None:
                fitted[name] = one.default
            elif not one.optional:
                faults.append(f"{at}{name} is missing")
        else:
            fitted[name] = _fit(one, value, f"{at}{name}", faults)
    return fitted


def _fit(one: Parameter, value: Any, at: str, faults: list[str]) -> Any:
    match one.type:
        case "array":
            return _fit_list(one, value, at, faults)
        case "object":
            if isinstance(value, Mapping):
                return _fit_object(one.properties, value, f"{at}.", faults)
            faults.append(f"{at} must be an object")
            return None
    try:
        fitted = _FITTERS[one.type](one, value)
    except Misfit as misfit:
        faults.append(f"{at} must {misfit}")
        return None
    if one.enum and not any(fitted == known and type(fitted) is type(known) for known in one.enum):
        faults.append(f"{at} must be one of {', '.join(map(str, one.enum))}")
    return fitted


def _fit_list(one: Parameter, value: Any, at: str, faults: list[str]) -> Any:
    if not isinstance(value, list | tuple):
        faults.append(f"{at} must be a list")
    elif not one.min_items <= len(value) <= one.max_items:
        faults.append(f"{at} must have {one.min_items} to {one.max_items} items")
    else:
        inner = one.items or Parameter()
        return [_fit(inner, item, f"{at}[{index}]", faults) for index, item in enumerate(value)]
    return None


def _fit_text(one: Parameter, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Misfit("be a text")
    text = str(value).strip()
    most = one.max_length if one.max_length is not None else MOST_PATTERN_CHARS if one.pattern else MOST_CHARS
    if not one.min_length <= len(text) <= most:
        raise Misfit(
            f"have {one.min_length} to {most} characters" if one.min_length else f"have at most {most} characters"
        )
    if _CONTROL.search(text):
        raise Misfit("hold no control characters")
    if one.pattern and not _compiled(one.pattern).search(text):
        raise Misfit(f"look like {one.pattern}")
    if one.format and not _is_of_format(one.format, text):
        raise Misfit(f"be {_FORMATS[one.format][1]}")
    return text


def _is_of_format(name: str, text: str) -> bool:
    pattern = _FORMATS[name][0].get("pattern")
    if pattern is not None:
        return _compiled(pattern).search(text) is not None
    try:
        msgspec.convert(text, date if name == "date" else datetime)
    except msgspec.ValidationError:
        return False
    return True


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """JSON Schema's `\\d` and `\\w` mean ASCII."""
    return re.compile(pattern, re.ASCII)


def _fit_integer(one: Parameter, value: Any) -> int:
    number = _fit_number(one, value, "be a whole number")
    if not float(number).is_integer() or abs(number) > LARGEST_INTEGER:
        raise Misfit("be a whole number")
    return int(number)


def _fit_number(one: Parameter, value: Any, misfit: str = "be a number") -> float:
    if isinstance(value, str) and len(value) <= MOST_DIGITS and value.isascii() and "_" not in value:
        try:
            value = float(value) if re.search(r"[.eE]", value) else int(value)
        except ValueError:
            raise Misfit(misfit) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit(misfit)
    if abs(value) > LARGEST_INTEGER if isinstance(value, int) else not math.isfinite(value):
        raise Misfit(misfit)
    low, high = one.minimum, one.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise Misfit(_span(low, high))
    return value


def _span(low: float | None, high: float | None) -> str:
    if high is None:
        return f"be at least {low:g}"
    return f"be at most {high:g}" if low is None else f"be from {low:g} to {high:g}"


def _fit_truth(_: Parameter, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise Misfit("be true or false")


_FITTERS = {"string": _fit_text, "integer": _fit_integer, "number": _fit_number, "boolean": _fit_truth}


def faults_of(one: Parameter) -> Iterator[tuple[str, str]]:
    """What the keys of one parameter cannot mean together: the key, and what is wrong."""
    texts = [key for key in ("pattern", "format", "min_length", "max_length") if getattr(one, key)]
    numbers = [key for key in ("minimum", "maximum") if getattr(one, key) is not None]
    shapes = [("items", one.items is not None, "array"), ("properties", bool(one.properties), "object")]
    if one.type != "string":
        yield from ((key, f"`{key}` is for `type: string`, not {one.type}") for key in texts)
    if one.type not in ("integer", "number"):
        yield from ((key, f"`{key}` is for numbers, not `type: {one.type}`") for key in numbers)
    yield from ((key, f"`{key}` is for `type: {home}`") for key, given, home in shapes if given and one.type != home)
    if one.pattern:
        try:
            _compiled(one.pattern)
        except re.error as problem:
            yield "pattern", f"`pattern` is no regular expression: {problem}"
            return
    if one.minimum is not None and one.maximum is not None and one.minimum > one.maximum:
        yield "minimum", f"`minimum` ({one.minimum:g}) is over `maximum` ({one.maximum:g})"
    if one.max_length is not None and one.min_length > one.max_length:
        yield "min_length", f"`min_length` ({one.min_length}) is over `max_length` ({one.max_length})"
    if one.min_items > one.max_items:
        yield "min_items", f"`min_items` ({one.min_items}) is over `max_items` ({one.max_items})"
    yield from _value_faults(one)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip


def _value_faults(one: Parameter) -> Iterator[tuple[str, str]]:
    """Values of the file that are not what the parameter takes: `enum: [yes, no]` are truths in YAML."""
    kind = _KINDS.get(one.type)
    for known in one.enum:
        if kind is None or not isinstance(known, kind) or (isinstance(known, bool) and one.type != "boolean"):
            hint = ': put it in quotes, like "yes"' if one.type == "string" else ""
            yield (
                "enum",
                f"`enum` holds {str(known).lower() if isinstance(known, bool) else known}, no {one.type}{hint}",
            )
            return
    if one.default is not None:
        try:
            fit({"default": one}, {"default": one.default})
        except Misfit as misfit:
            yield "default", f"`default` does not fit: {misfit}"
