"""The phases of a call (DESIGN §2). Five of the names are the customer's: all but connecting and transferring."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    CONNECTING = "connecting"  # admitted; one leg or both are still missing
    LISTENING = "listening"  # the agent is not heard; the caller may speak
    SPEAKING = "speaking"  # the agent is heard
    INTERRUPTED = "interrupted"  # the caller cut in: the agent is silenced until the debounce is over
    TOOL_PENDING = "tool_pending"  # a tool works and nobody speaks
    TRANSFERRING = "transferring"  # Twilio takes the call back: words, then a person or the end
    ENDED = "ended"
