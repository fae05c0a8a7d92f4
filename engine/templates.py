"""Texts with places to fill: `{order_id}`, `{caller.number}`, `{items.0.name}`. `{{` and `}}` are plain braces. Pure.

Only a word (or words with dots) in braces is a place. Other braces are text, so that JSON can stand in a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple


class Slot(NamedTuple):
    """A place to fill."""

    name: str


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()  # what a place has that nobody gave: its key is left out
_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\}")


def pieces(text: str) -> Iterator[str | Slot]:
    """A template's texts and places, in order."""
    done = 0
    for found in _PLACE.finditer(text):
        if found.start() > done:
            yield text[done : found.start()]
        yield Slot(found[1]) if found[1] else found[0][0]
        done = found.end()
    if done < len(text):
        yield text[done:]


def names_in(value: object) -> Iterator[str]:
    """The names of all places in a text, or in the texts of a list or mapping."""
    if isinstance(value, str):
        yield from (one.name for one in pieces(value) if isinstance(one, Slot))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from names_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from names_in(inner)


def lone_name(text: str) -> str | None:
    """The name, when a text is one place and nothing else."""
    found = _PLACE.fullmatch(text)
    return found[1] if found else None


def fill(text: str, values: Mapping[str, Any], encode: Callable[[str], str] = str) -> str:
    """A text with its places filled. What nobody gave is empty; `encode` is put around each value, never the text."""
    filled = []
    for piece in pieces(text):
        filled.append(encode(as_text(values.get(piece.name, MISSING))) if isinstance(piece, Slot) else piece)
    return "".join(filled)


def fill_all(value: Any, values: Mapping[str, Any]) -> Any:
    """JSON with its texts filled. A lone `{x}` keeps x's type; if nobody gave x, its key or item is left out."""
    if isinstance(value, str):
        name = lone_name(value)
        return fill(value, values) if name is None else values.get(name, MISSING)
    if isinstance(value, Mapping):
        filled = {key: fill_all(inner, values) for key, inner in value.items()}
        return {key: inner for key, inner in filled.items() if inner is not MISSING}
    if isinstance(value, list | tuple):
        return [inner for inner in (fill_all(one, values) for one in value) if inner is not MISSING]
    return value


def as_text(value: object) -> str:
    """A JSON scalar as it is written in a URL or a sentence."""
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def look_up(data: object, path: str) -> Any:
    """What stands at a dotted path of a JSON answer; `MISSING` if nothing does. Numbers are places in a list."""
    for step in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(step, MISSING)
        elif isinstance(data, list) and step.isascii() and step.isdigit() and len(step) < 7 and int(step) < len(data):
            data = data[int(step)]
        else:
            return MISSING
    return data
