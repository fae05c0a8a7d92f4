"""The tool ledger: what has become of each tool call, and what an interruption or a restart may do to it. Pure.

    asked → (waiting) → intended → running → done → told
              ↓            ↓          ↓
          discarded    discarded   cancelled (a read), unknown (nobody can say whether it was done)

One row of `TABLE` says what a happening does to a tool call of one effect class before it has begun, and after. What
has begun is never cut short, but for a read. What has not begun never runs once the caller has cut in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from engine.call import Call
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.tools import ToolEffect, ToolResult

MOST_ARGUMENT_BYTES = 64 * 1024
MOST_NAME_CHARS = 64  # of a tool's name in a sentence for the model: nobody's tool is called more (vapi.md §8.1)
ANSWERED_S = 1.0  # a caller's answer to a question cannot come sooner after it was put to the model


class Stage(StrEnum):
    """How far a tool call has come."""

    WAITING = "waiting"  # asked for, and not begun: what the caller means is undecided, or they still listen
    INTENDED = "intended"  # the intent is being made durable
    RUNNING = "running"
    DONE = "done"  # there is a result, durable where it changed the world; nobody was told
    TOLD = "told"
    DISCARDED = "discarded"  # it never began
    CANCELLED = "cancelled"  # a read that nobody wanted any more
    UNKNOWN = "unknown"  # begun, and nobody can say whether it was done


BEGUN = frozenset({Stage.RUNNING, Stage.DONE, Stage.TOLD, Stage.UNKNOWN, Stage.CANCELLED})


class Happening(StrEnum):
    """What may come between."""

    INTERRUPTED = "interrupted"  # the caller cut in, and meant it
    HUNG_UP = "hung up"
    RESTARTED = "restarted"  # the process died; its journal remains, and Vapi asks again


class Fate(StrEnum):
    """What then becomes of it."""

    GO_ON = "go on"  # it runs, or goes on running, and its result is told by webhook
    GO_ON_AND_TELL = "go on and tell"  # … and is put to the model besides: a turn's results may be lost with the turn
    DETACH = "detach"  # it goes on without the call; its result is in the journal
    DISCARD = "discard"  # it never begins
    CANCEL = "cancel"
    RUN_AGAIN = "run again"  # with the same idempotency key
    NOT_KNOWN = "not known"  # the model is told not to repeat it


E, H, F = ToolEffect, Happening, Fate

TABLE: Mapping[tuple[ToolEffect, Happening], tuple[Fate, Fate]] = {
    #                                 before it began   once it has begun
    (E.READ, H.INTERRUPTED):         (F.GO_ON,          F.GO_ON),  # looking something up harms nobody
    (E.READ, H.HUNG_UP):             (F.DISCARD,        F.CANCEL),
    (E.READ, H.RESTARTED):           (F.RUN_AGAIN,      F.RUN_AGAIN),
    (E.IDEMPOTENT, H.INTERRUPTED):   (F.DISCARD,        F.GO_ON_AND_TELL),
    (E.IDEMPOTENT, H.HUNG_UP):       (F.DISCARD,        F.DETACH),
    (E.IDEMPOTENT, H.RESTARTED):     (F.DISCARD,        F.RUN_AGAIN),
    (E.COMMIT, H.INTERRUPTED):       (F.DISCARD,        F.GO_ON_AND_TELL),
    (E.COMMIT, H.HUNG_UP):           (F.DISCARD,        F.DETACH),
    (E.COMMIT, H.RESTARTED):         (F.DISCARD,        F.NOT_KNOWN),
    (E.TERMINAL, H.INTERRUPTED):     (F.DISCARD,        F.GO_ON),
    (E.TERMINAL, H.HUNG_UP):         (F.DISCARD,        F.DETACH),
    (E.TERMINAL, H.RESTARTED):       (F.DISCARD,        F.NOT_KNOWN),
}  # fmt: skip


def fate(effect: ToolEffect, stage: Stage, happening: Happening) -> Fate:
    """What this happening does to a tool call of this class that has come so far."""
    before, after = TABLE[effect, happening]
    return after if stage in BEGUN else before


def needs_intent(effect: ToolEffect) -> bool:
    """Whether the intent is durable before it begins, and the result before it is told."""
    return effect is not ToolEffect.READ


# --- may it begin? ----------------------------------------------------------------------------------------------------


class Ruling(StrEnum):
    RUN = "run"
    WAIT = "wait"
    DISCARD = "discard"


def ruling(call: Call, effect: ToolEffect, asked_at: float, *, asked_twice: bool = False) -> Ruling:
    """Whether a tool call that has not begun may begin now. Asked anew after each step of the call.

    An ask belongs to a discarded turn when the caller cut in after it, or cut in before it and has said nothing since
    that the model could have answered: Vapi's model only answers a finished turn.

    Args:
        asked_twice: the model was told that the caller cut in, and asks for the same again: a decision of its own.
    """
    if call.phase in (Phase.TRANSFERRING, Phase.ENDED):
        return Ruling.DISCARD
    if fate(effect, Stage.WAITING, Happening.INTERRUPTED) is not Fate.DISCARD:
        return Ruling.RUN
    if call.cut_at > asked_at or (call.cut_at > call.prompted_at and not asked_twice):
        return Ruling.DISCARD
    if call.held_at is not None or call.phase is Phase.INTERRUPTED:
        return Ruling.WAIT  # whether the caller means to cut in is decided within `longest_hold_ms`
    if effect is ToolEffect.TERMINAL and (call.phase is Phase.SPEAKING or call.agent_talking or call.ours):
        return Ruling.WAIT  # until it was heard
    return Ruling.RUN


# --- the same thing twice ---------------------------------------------------------------------------------------------


def canonical(arguments: Mapping[str, Any]) -> bytes:
    """Arguments as bytes that are the same whenever they mean the same.

    Raises:
        TypeError, ValueError, RecursionError: they cannot be written as JSON.
    """
    return msgspec.json.encode(arguments, order="deterministic", enc_hook=_plain)


def _plain(thing: Any) -> Any:
    """What msgspec does not know: a pydantic model gives itself away by its method."""
    dump = getattr(thing, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(thing).__name__} is not JSON-able")
    return dump(mode="json")


def key_of(call_id: str, name: str, arguments: bytes, number: int) -> str:
    """The idempotency key of the n-th effect of this kind that this call asks for."""
    text = b"\0".join((call_id.encode(), name.encode(), arguments, str(number).encode()))
    return "cs-" + hashlib.sha256(text).hexdigest()[:40]


def is_answered(call: Call, put_at: float) -> bool:
    """Whether the caller has answered what was put to the model at that time."""
    return call.said_at > put_at + ANSWERED_S


# --- after a restart --------------------------------------------------------------------------------------------------


class Past(msgspec.Struct, frozen=True):
    """What a journal knows of one tool call of a call whose process died."""

    call_id: str
    number: str  # the caller's; personal data
    opened_wall_s: float
    next_seq: int  # the number of the next record of that call
    tool_call_id: str
    name: str = ""
    arguments: dict[str, Any] = {}
    effect: ToolEffect = ToolEffect.READ
    key: str = ""
    stage: Stage = Stage.WAITING
    overtaken: bool = False  # since it was asked for the caller spoke, or the call ended: it may never have begun
    result: ToolResult | None = None
    variables: dict[str, str] = {}  # of a call that we made


_OVERTAKING = frozenset(
    {
        "CallerVoice",
        "CallerTranscript",
        "AgentInterrupted",
        "DigitPressed",
        "CallerHungUp",
        "Closed",
        Phase.TRANSFERRING,
        Phase.ENDED,
    }
)


def past_of(records: Iterable[Record], tool_call_id: str) -> Past | None:
    """What the records of one call say of one of its tool calls; None when there are no records.

    A tool call that they do not know has an empty name.
    """
    past: Past | None = None
    for record in records:
        if past is None:
            past = Past(record.call_id, "", record.wall_s - record.at_ms / 1000, 0, tool_call_id)
        past = msgspec.structs.replace(past, next_seq=max(past.next_seq, record.seq + 1))
        if record.kind is Kind.OPENED:
            who = "to" if str(record.data.get("direction")).startswith("outbound") else "from"
            variables = dict(record.data.get("variables") or {})
            past = msgspec.structs.replace(past, number=str(record.data.get(who) or ""), variables=variables)
        elif record.name in _OVERTAKING and past.name:
            past = msgspec.structs.replace(past, overtaken=True)
        elif record.data.get("tool_call_id") == tool_call_id:
            past = msgspec.structs.replace(past, **_told_by(record))
    return past


def _told_by(record: Record) -> dict[str, Any]:
    data = record.data
    match record.name:
        case "ToolRequested":
            effect = ToolEffect(data.get("effect", ToolEffect.READ))
            return {"name": data["name"], "arguments": data["arguments"], "effect": effect}
        case "ToolIntent":
            return {
                "name": data["name"],
                "arguments": data["arguments"],
                "effect": ToolEffect(data.get("effect", ToolEffect.COMMIT)),
                "key": data.get("key", ""),
                "stage": Stage.UNKNOWN,
            }
        case "ToolResult":
            result = ToolResult(data["tool_call_id"], data["name"], data["text"], data["ok"], data.get("took_ms", 0.0))
            return {"result": result, "stage": Stage.DONE, "name": result.name}
        case _:
            return {}


# --- words for the model ----------------------------------------------------------------------------------------------

OVER = "The call is over."
CUT_IN = "The caller cut in before this was begun, so nothing was done. If they still want it, ask for it again."
NEVER_HEARD_OUT = "Nothing was done: what was being said took too long to be heard. Ask for it again after it."
UNSURE = "It is not known whether {name} was done. Do not do it again. Say so, and that somebody will look into it."
LOST = "{name} was not begun before a breakdown, and nothing was done."
DONE_ALREADY = "This is done already, and was not done again: {text}"
TAKES_LONGER = (
    "{name} takes longer. Tell the caller that you will say as soon as the answer is there, and go on with the "
    "conversation. Do not ask for it again."
)
CONFIRM = (
    "Not done yet. Read this back to the caller and ask whether it is right: {arguments}. When they agree, ask for "
    "{name} again with the same arguments."
)
NOT_CONFIRMED = "Not done yet: the caller has not answered. Wait for their answer to your question."
HAS_ANSWERED = "{name}, which took longer, has answered: {text}"
WAS_DONE = "{name} was done, although the caller cut in: {text} Do not do it again."
