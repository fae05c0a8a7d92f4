"""Records as the API shows them: numbers masked, keys left out, and each with the line that the timeline has for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from engine.journal import Record
from engine.masking import masked
from web.api.summary import iso
from web.api.types import RecordRow
from web.timeline import Timeline

__all__ = ["record_row", "record_rows", "shown_data"]

_NUMBERS = frozenset({"from", "to", "number", "from_number", "to_number", "next_number"})
_KEYS = frozenset({"digit", "digits", "keys"})
_SECRETS = re.compile(r"token|secret|auth|password|api_?key|_url$|^url$", re.IGNORECASE)
_TYPED = re.compile(r"(The caller (?:typed|pressed) )[0-9*# ]+( on the keypad\.)")
HIDDEN = "•••"
MOST_DEPTH = 12
WHO_CHARS = 7


def shown_data(data: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A record's data without what is nobody's business."""
    return {key: _shown(key, value, depth) for key, value in data.items()}


def _shown(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return shown_data(value, depth + 1) if depth < MOST_DEPTH else HIDDEN
    if isinstance(value, list | tuple):
        return [_shown(key, one, depth + 1) for one in value] if depth < MOST_DEPTH else HIDDEN
    if not isinstance(value, str):
        return value
    if key in _NUMBERS:
        return masked(value) if value[:1] in "+0123456789" or ":" in value or " " in value else value
    if key in _KEYS or _SECRETS.search(key):
        return HIDDEN if value else value
    if key == "path":
        return value.rpartition("/")[2]
    return _TYPED.sub(rf"\1{HIDDEN}\2", value) if key == "content" else value


def record_row(record: Record, timeline: Timeline) -> RecordRow:
    lines = list(timeline.lines(record))
    text = lines[-1].plain[len(f"{record.at_ms / 1000:9.3f}") + 2 :] if lines else ""  # as `Timeline` lays it out
    return RecordRow(
        call_id=record.call_id,
        seq=record.seq,
        at_ms=record.at_ms,
        at=iso(record.wall_s),
        kind=str(record.kind),
        name=record.name,
        data=shown_data(record.data),
        who=text[:WHO_CHARS].strip(),
        text=_TYPED.sub(rf"\1{HIDDEN}\2", text[WHO_CHARS:].strip()),
    )


def record_rows(records: Iterable[Record]) -> list[RecordRow]:
    timeline = Timeline()
    return [record_row(record, timeline) for record in records]
