"""Ids and times as Vapi writes them: UUIDs (call ids are time-ordered), ISO-8601 with milliseconds (vapi.md §2)."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime

__all__ = ["epoch_ms", "iso", "new_call_id", "new_id", "new_tool_call_id"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def iso(at_ms: int) -> str:
    """`2026-01-01T14:29:58.402Z`."""
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return stamp.removesuffix("+00:00") + "Z"


def new_id() -> str:
    return str(uuid.uuid4())


def new_call_id() -> str:
    """A version 7 UUID: the first 48 bits are the time."""
    number = epoch_ms() << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=number & ~(3 << 62) | 2 << 62))


def new_tool_call_id() -> str:
    """`call_` and fourteen letters, as in the samples."""
    return "call_" + "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(14))
