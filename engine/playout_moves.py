"""What the playout asks for and tells: pieces of sound, marks, where an utterance begins and ends, where it was cut."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Audio:
    """Send this to Twilio: whole frames."""

    mulaw: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Send this mark after the audio before it."""

    name: str


@dataclass(frozen=True, slots=True)
class Started:
    utterance: int
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    utterance: int
    heard_ms: float
    ours: bool = False


Move = Audio | Mark | Started | Done


class Gate(Enum):
    OPEN = "open"
    HELD = "held"
    SHUT = "shut"


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the caller's ear was when the agent fell silent: in which utterance, how much of it heard, how much not.

    `since_line_ms` and `until_line_ms`: when the last unbroken stretch of it was heard, by the line's clock.
    `tail_ms`: so much of what was not heard is of the utterance before.
    """

    utterance: int
    heard_ms: float
    unheard_ms: float
    since_line_ms: float | None = None
    until_line_ms: float | None = None
    tail_ms: float = 0.0
