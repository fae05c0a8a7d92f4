"""Small checks of JSON. They name every property that should not be there, as Vapi's validation does (vapi.md §2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

__all__ = ["Check", "anything", "flag", "items", "number", "one_of", "record", "text"]

Check = Callable[[object, str], Iterator[str]]
"""Yields what is wrong with a value that stands at a path (`assistantOverrides.server`; the whole body: ``)."""


def anything(_value: object, _path: str) -> Iterator[str]:
    yield from ()


def text(*, most: int | None = None, like: str | None = None) -> Check:
    pattern = re.compile(like) if like else None

    def check(value: object, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path} must be a string"
        elif most is not None and len(value) > most:
            yield f"{path} must be shorter than or equal to {most} characters"
        elif pattern is not None and not pattern.fullmatch(value):
            yield f"{path} must match /{like}/ regular expression"

    return check


def number(least: float, most: float) -> Check:
    def check(value: object, path: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{path} must be a number conforming to the specified constraints"
        elif value < least:
            yield f"{path} must not be less than {least:g}"
        elif value > most:
            yield f"{path} must not be greater than {most:g}"

    return check


def flag(value: object, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{path} must be a boolean value"


def one_of(*values: str) -> Check:
    def check(value: object, path: str) -> Iterator[str]:
        if value not in values:
            yield f"{path} must be one of the following values: {', '.join(values)}"

    return check


def items(each: Check) -> Check:
    def check(value: object, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path} must be an array"
            return
        for index, one in enumerate(value):
            yield from each(one, f"{path}.{index}")

    return check


def record(fields: Mapping[str, Check], *, need: tuple[str, ...] = ()) -> Check:
    """An object with these properties and no others. Null is the same as absent (vapi.md §3)."""

    def check(value: object, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path or 'body'} must be an object"
            return
        lead = f"{path}." if path else ""
        for name, entry in value.items():
            known = fields.get(name)
            if known is None:
                yield f"{lead}property {name} should not exist"
            elif entry is not None:
                yield from known(entry, lead + name)
        for name in need:
            if value.get(name) is None:
                yield f"{lead}{name} should not be empty"

    return check
