"""Values in Vapi's messages, read tolerantly: numbers, moments, and when which word is spoken (vapi.md §6.1, §7). Pure.

What cannot be read is None or left out, never an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

MOST_WORDS = 2000  # of one message; with ElevenLabs each "word" may be a single character or a space


class SpokenWord(NamedTuple):
    """A word, a character, or a stretch of several words, with when it is spoken."""

    text: str
    start_ms: float
    end_ms: float


def number(value: object) -> float | None:
    """A finite number, or nothing: JSON's true is none, and an integer may be too long for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def epoch_ms(value: object) -> float | None:
    """A message's `timestamp`: epoch milliseconds, with a fraction perhaps, or an ISO string as in 2024 (§6.1)."""
    if not isinstance(value, str):
        return number(value)
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    except ValueError:
        return None


def confidence(value: object) -> float | None:
    """How sure the transcriber is, 0 to 1; what is outside of that is no confidence."""
    found = number(value)
    return found if found is not None and 0 <= found <= 1 else None


def spoken_words(timing: Mapping[str, Any]) -> tuple[SpokenWord, ...]:
    """`timing` of `assistant.speechStarted`, in either form: told by its fields, not by its `type`.

    Whether the milliseconds count from the beginning of the speech or of its latest segment nobody has shown:
    `engine.heard` finds out.
    """
    starts, ends, words = timing.get("wordsStartTimesMs"), timing.get("wordsEndTimesMs"), timing.get("words")
    if isinstance(starts, list) and isinstance(ends, list) and isinstance(words, list):
        found = [_word(*one) for one in zip(words, starts, ends, strict=False)]
    elif isinstance(words, list) and words:
        found = [_word(one.get("word"), one.get("startMs"), one.get("endMs")) for one in words if isinstance(one, dict)]
    else:
        found = [_word(timing.get("segment"), 0, timing.get("segmentDurationMs"))]
    return tuple(one for one in found[:MOST_WORDS] if one is not None)


def _word(text: object, start: object, end: object) -> SpokenWord | None:
    start_ms, end_ms = number(start), number(end)
    if not isinstance(text, str) or not text or start_ms is None or end_ms is None or not 0 <= start_ms <= end_ms:
        return None
    return SpokenWord(text, start_ms, end_ms)
