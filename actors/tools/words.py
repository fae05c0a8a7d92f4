"""What a tool returned, as the one line of text that Vapi takes (reference/vapi.md §8.3). Never holds up the loop.

A result may be anything, a hundred megabytes too: its size is estimated before it is written down, and what is large is
written down in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import trio

LONGEST_RESULT_CHARS = 4000
INLINE_BYTES = 64 * 1024  # encoded in well under a millisecond
MOST_RESULT_BYTES = 1024 * 1024
MOST_PARTS = 10_000  # values in a result; counting them takes a few milliseconds
ENCODER_THREADS = trio.CapacityLimiter(2)

TOO_MUCH = "It returned too much to be read out. Ask for less."


class Unspeakable(Exception):
    """A result that cannot be told. The text is for the model."""


async def told(answer: object) -> str:
    """The result in words.

    Raises:
        Unspeakable: it is too large, or of a type that is no text.
    """
    if isinstance(answer, str):  # the usual case, without an await
        return one_line(answer)
    about = estimated_bytes(answer)
    if about > MOST_RESULT_BYTES:
        raise Unspeakable(TOO_MUCH)
    if about <= INLINE_BYTES:
        return as_words(answer)
    return await trio.to_thread.run_sync(as_words, answer, limiter=ENCODER_THREADS)


def as_words(answer: object) -> str:
    """As `told`, at once."""
    if isinstance(answer, str):
        return one_line(answer)
    try:
        return one_line(msgspec.json.encode(answer, enc_hook=_plain).decode())
    except (TypeError, ValueError, OverflowError, RecursionError) as unfit:
        raise Unspeakable(f"It returned a {type(answer).__name__}, which is no text.") from unfit


def one_line(text: str) -> str:
    """In one line, and no longer than somebody would listen to."""
    if len(text) > MOST_RESULT_BYTES:
        raise Unspeakable(TOO_MUCH)
    line = " ".join(text[: 4 * LONGEST_RESULT_CHARS].split())
    return line if len(line) <= LONGEST_RESULT_CHARS else line[: LONGEST_RESULT_CHARS - 1] + "…"


def estimated_bytes(answer: object) -> int:
    """About how long the JSON is. Stops counting over the limit, so that it is quick for a result of any size."""
    total, parts_seen, waiting = 0, 0, [iter((answer,))]
    while waiting and total <= MOST_RESULT_BYTES:
        parts_seen += 1
        if parts_seen > MOST_PARTS:
            return MOST_RESULT_BYTES + 1
        thing = next(waiting[-1], waiting)
        if thing is waiting:
            waiting.pop()
            continue
        total += _own_bytes(thing)
        parts = _parts(thing)
        if parts is not None:
            waiting.append(parts)
            if len(waiting) > 1000:  # a list within a list within a list …: no sensible result
                return MOST_RESULT_BYTES + 1
    return total


def _own_bytes(thing: object) -> int:
    if isinstance(thing, str | bytes | bytearray | memoryview):
        return len(thing) + 3
    if isinstance(thing, int):
        return 4 + thing.bit_length() // 3
    return 4


def _parts(thing: object) -> Iterator[object] | None:
    if thing is None or isinstance(thing, str | int | float | bytes | bytearray | memoryview):
        return None
    if isinstance(thing, Mapping):
        return (part for pair in thing.items() for part in pair)
    if isinstance(thing, Sequence | Set):
        return iter(thing)
    if isinstance(thing, msgspec.Struct):
        return (getattr(thing, name) for name in thing.__struct_fields__)
    if is_dataclass(thing) and not isinstance(thing, type):
        return (getattr(thing, field.name) for field in fields(thing))
    inside = getattr(thing, "__dict__", None)
    return iter(inside.values()) if hasattr(thing, "model_dump") and isinstance(inside, dict) else None


def _plain(thing: Any) -> Any:
    dump = getattr(thing, "model_dump", None)  # a pydantic model, without importing pydantic
    if dump is None:
        raise TypeError(type(thing).__name__)
    return dump(mode="json")
