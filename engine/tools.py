"""What a tool is and what a call remembers of its tool calls. Pure; running them is `actors.tools`' work."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class ToolEffect(StrEnum):
    """What running a tool does to the world; from it follows what a hang-up may do to a run (DESIGN §5)."""

    READ = "read"  # looks something up: may be cancelled and repeated
    IDEMPOTENT = "idempotent"  # may be repeated with the same key
    COMMIT = "commit"  # must happen at most once, and is not cancelled half-way
    TERMINAL = "terminal"  # ends or moves the call


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as Vapi is told about it, and its policy."""

    name: str
    description: str
    parameters: dict[str, Any]  # JSON Schema of an object
    effect: ToolEffect
    timeout_s: float


class ToolResult(msgspec.Struct, frozen=True):
    """What came of one tool call: words for the model, or an error in words that it may pass on."""

    tool_call_id: str
    name: str
    text: str
    ok: bool
    took_ms: float = 0.0
