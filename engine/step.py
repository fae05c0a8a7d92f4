"""What comes next in a call. `step` is all that ever changes one. Pure.

The rules are in `engine.rules`, the meaning of facts in `engine.turns`. Time comes in as `fact.at`, in seconds on the
call's own clock.
"""

from __future__ import annotations

import msgspec

from engine import effects as f
from engine import events as e
from engine.call import Call, Policy, noting
from engine.errors import NotInThisPhase
from engine.rules import RULE_FOR, STAY
from engine.turns import name_event


def opened(call_id: str, policy: Policy, at: float = 0.0) -> tuple[Call, tuple[f.Effect, ...]]:
    """A new call and its first orders: Vapi is dialled while Twilio still reads our TwiML (reference/vapi.md §4.2)."""
    return Call(call_id, policy, opened_at=at, entered_at=at, active_at=at), (f.DialAgent(),)


def step(call: Call, fact: e.Event) -> tuple[Call, tuple[f.Effect, ...]]:
    """Decide what one fact means. Same call and fact, same answer, on any machine at any hour.

    Raises:
        NotInThisPhase: no rule covers the pair. A bug of ours, never something the caller did.
    """
    return apply(call, name_event(call, fact))


def apply(call: Call, event: e.Event) -> tuple[Call, tuple[f.Effect, ...]]:
    """`step` for an event that has its name already."""
    found = RULE_FOR.get((call.phase, type(event)))
    if found is None:
        raise NotInThisPhase(call.phase, type(event).__name__)
    noted = noting(call, event)
    if found.to is not STAY:
        noted = msgspec.structs.replace(noted, phase=found.to, entered_at=event.at)
    return noted, found.then(noted, event)
