"""What the engine may ask for: orders, frozen. `actors.call_actor` carries them out; none of them waits."""

from __future__ import annotations

from typing import Any

import msgspec


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """An order to the actor."""


class DialAgent(Effect, frozen=True):
    """Create the Vapi call and open its socket."""


class SayLine(Effect, frozen=True):
    """Say one of our own lines: the n-th of its kind (`engine.lines`)."""

    kind: str
    n: int = 0


class Hold(Effect, frozen=True):
    """Silence the agent now, at Twilio and here, and keep what the caller has not heard, and what comes."""


class Drop(Effect, frozen=True):
    """Silence the agent, and forget what the caller has not heard.

    Args:
        guard_s: so long what comes still belongs to the old speech and is dropped; None: until `Keep`.
    """

    reason: str
    words: str = ""
    guard_s: float | None = 0.0


class StopAgent(Effect, frozen=True):
    """Have Vapi stop what it says: it goes on although the caller cut in with words."""


class Keep(Effect, frozen=True):
    """What the agent says from now on is new: keep it until it may be heard."""


class LetSpeak(Effect, frozen=True):
    """Let the agent be heard: it goes on with the frame that the caller did not hear, or begins."""

    reason: str = ""


class TakeTurn(Effect, frozen=True):
    """The caller's turn is complete: one turn, however often they corrected themselves. For the record."""

    text: str


class RunTool(Effect, frozen=True):
    """Run a tool as soon as its effect may happen (`engine.ledger.ruling`)."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]


class CancelTools(Effect, frozen=True):
    """The call is over for its tools: what that means for each is in `engine.ledger.TABLE`."""

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
