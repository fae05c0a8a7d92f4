"""What the engine may ask for: orders, frozen. `actors.call_actor` carries them out; none of them waits."""

from __future__ import annotations

from typing import Any

import msgspec


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """An order to the actor."""


class DialAgent(Effect, frozen=True):
    """Create the Vapi call and open its socket."""


class SayHolding(Effect, frozen=True):
    """Play the holding sentence from our own clip."""


class Hush(Effect, frozen=True):
    """Silence the agent now: Twilio `clear`, drop what waits, let no more of utterances up to this one through."""

    utterance: int


class LetSpeak(Effect, frozen=True):
    """Let the agent be heard again; what comes next is a new utterance."""


class RunTool(Effect, frozen=True):
    tool_call_id: str
    name: str
    arguments: dict[str, Any]


class CancelTools(Effect, frozen=True):
    """Cancel the scopes of all running tools."""

    reason: str


class TellAgent(Effect, frozen=True):
    """Put something into the agent's conversation (reference/vapi.md §4.5 `add-message`)."""

    role: str
    content: str
    respond: bool


class EndAgent(Effect, frozen=True):
    """End Vapi's call, so that it stops costing."""

    reason: str


class HandOver(Effect, frozen=True):
    """Let Twilio speak these words and then dial the number, or hang up: the fallback, or a transfer."""

    words: str
    number: str | None
    reason: str


class HangUp(Effect, frozen=True):
    """Close Twilio's stream; its `action` is answered with `<Hangup/>`."""

    reason: str


class RescueByRest(Effect, frozen=True):
    """Twilio did not come for its TwiML: push it through the REST API."""

    words: str
    number: str | None
    reason: str
