"""How each happening in a call reads in a timeline: one row a name. To add one, add a row; unknown names read too.

A row's text may hold `{field}` of the record's data, with a way to write it after a colon (`WAYS`), and `[optional
parts]` that vanish when a field in them is missing. A missing field outside of brackets makes the whole record
read as an unknown one: `Name field=value`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.masking import masked

LONGEST_QUOTE_CHARS, LONGEST_VALUE_CHARS = 400, 120

CALLER, AGENT, TWILIO, VAPI, TOOL, ENGINE, CALL = "caller", "agent", "twilio", "vapi", "tool", "engine", "call"
LOUD, BAD, FAINT = "bold yellow", "bold red", "dim"


@dataclass(frozen=True, slots=True)
class Wording:
    """A row. `flag` names a boolean field; when it is false, `otherwise` is read instead of `text`."""

    who: str
    text: str
    style: str = ""
    flag: str = ""
    otherwise: str = ""
    otherwise_style: str = FAINT


WORDINGS: Mapping[str, Wording] = {
    # Twilio's leg
    "StreamStarted": Wording(TWILIO, "media stream open[  {stream_sid}]"),
    "StreamEnded": Wording(
        TWILIO, "media stream closed[: {reason}]", "", "stopped", "media stream LOST[: {reason}]", BAD
    ),
    "CallerHungUp": Wording(CALLER, "hung up[ ({status})]"),
    "DigitPressed": Wording(CALLER, "pressed a key"),  # which one is the caller's business
    "HandedOver": Wording(TWILIO, "took the call back[: {how}]"),
    "MarkReturned": Wording(TWILIO, "mark {name} back", FAINT),
    # Vapi's leg
    "AgentConnected": Wording(VAPI, "agent connected[  {agent_call_id}]"),
    "AgentCreated": Wording(VAPI, "call created[  {agent_call_id}]", FAINT),
    "AgentLost": Wording(VAPI, "agent LOST[: {why}]", BAD),
    "AgentEnded": Wording(VAPI, "conversation over[: {reason}]"),
    "AgentSpeechStarted": Wording(VAPI, "starts a speech", FAINT),
    "AgentSpeechStopped": Wording(VAPI, "speech is complete", FAINT),
    "AgentInterrupted": Wording(VAPI, "heard the caller cut in", LOUD),
    "UserInterrupted": Wording(VAPI, "heard the caller cut in", LOUD),
    "AgentTranscript": Wording(AGENT, "{text:quote}", "green", "final", "{text:quote} …"),
    "CallerTranscript": Wording(CALLER, "{text:quote}", "cyan", "final", "{text:quote} …"),
    "AgentSlow": Wording(VAPI, "says that it is slow"),
    "ReportArrived": Wording(VAPI, "end-of-call report[: {ended_reason}]", FAINT),
    "UnknownFrame": Wording(VAPI, "sent a frame of a kind that we do not know[: {type}]", FAINT),
    # what is heard
    "UtteranceStarted": Wording(AGENT, "begins to be heard  (utterance {utterance})"),
    "PlaybackDone": Wording(AGENT, "heard to the end  (utterance {utterance}[, {heard_ms:ms}])"),
    "CallerVoice": Wording(CALLER, "voice begins"),
    "CallerQuiet": Wording(CALLER, "is quiet", FAINT),
    "AgentWords": Wording(AGENT, "is about to say {text:quote}", FAINT),
    "Hold": Wording(ENGINE, "→ hold the agent", FAINT),
    "Drop": Wording(ENGINE, "→ drop what was not heard[: {reason}]", LOUD),
    "KeysSent": Wording(ENGINE, "{keys} keys sent as tones", "", "sent", "{keys} keys NOT sent: the agent speaks"),
    "StopAgent": Wording(ENGINE, "→ tell the agent to stop", FAINT),
    "Keep": Wording(ENGINE, "→ what comes now is new", FAINT),
    "TakeTurn": Wording(ENGINE, "→ the caller's turn: {text:quote}", FAINT),
    "Interruption": Wording(  # `dropped`, `held_ms` and `held_for` are the timeline's
        ENGINE,
        "caller cut in[: silent after {silent_ms:ms}][, dropped {unheard_ms:seconds} unheard]"
        " ({reason}[: {words:quote}])",
        LOUD,
        "dropped",
        "held[ {held_ms:ms}] {held_for}[ {words:quote}], went on",
    ),
    "AgentHeard": Wording(  # `any_heard`, `mark` and `kept` as well
        AGENT, "{text:quote}[ {mark}][ ({kept})]", "green", "any_heard", "nothing was heard[ {mark}][ ({kept})]"
    ),
    "Line": Wording(ENGINE, "we say {text:quote} ({kind}[, {how}])", "green"),
    "LetSpeak": Wording(ENGINE, "→ let the agent speak[: {reason}]", FAINT),
    "LateMark": Wording(TWILIO, "late mark of utterance {utterance}, changes nothing", FAINT),
    # tools
    "ToolRequested": Wording(TOOL, "{name}({arguments:arguments}) asked for", "yellow"),
    "RunTool": Wording(ENGINE, "→ run {name}", FAINT),
    "ToolIntent": Wording(TOOL, "{name}: intent is on the disk", FAINT),
    "ToolResult": Wording(TOOL, "{name} → {text:quote}", "yellow", "ok", "{name} FAILED → {text:quote}", BAD),
    "ToolAnswered": Wording(
        TOOL, "[{name} ]answered[ in {took_ms:ms}]", "yellow", "ok", "[{name} ]failed[ after {took_ms:ms}]", BAD
    ),
    "ToolDone": Wording(TOOL, "{name}: result is on the disk", FAINT),  # of journals before 0008
    "ToolPutOff": Wording(TOOL, "{name} takes longer: the agent was told to go on", "yellow"),
    "ToolLate": Wording(TOOL, "[{name} ]late answer[ after {took_ms:ms}][: {how}]", FAINT),
    "ToolLateResult": Wording(
        TOOL, "{name}: late result, {how}", "yellow", "wanted", "{name}: late result that nobody wants any more"
    ),
    "ToolDiscarded": Wording(TOOL, "{name} was NOT begun: {why:quote}", LOUD),
    "ToolSameAgain": Wording(TOOL, "{name} asked for anew: gets the first result", FAINT),
    "ToolUnconfirmed": Wording(TOOL, "{name} waits for the caller's word", "yellow"),
    "ToolToldAgain": Wording(TOOL, "{name}: the agent is reminded that it was done", FAINT),
    "ToolUndone": Wording(TOOL, "{name} taken back by {by}", LOUD, "ok", "{name} could NOT be taken back by {by}", BAD),
    "ToolDisabled": Wording(TOOL, "{name} keeps crashing: switched off for this call", BAD),
    "ToolBroke": Wording(TOOL, "a run broke[ ({why})]", BAD),
    "Transferring": Wording(TOOL, "transfer to {name}", LOUD),
    "MessageTaken": Wording(TOOL, "message[ of {name:quote}]: {message:quote}", "yellow"),
    "EndOrdered": Wording(TOOL, "ends the call[: {reason}]", LOUD),
    "ToolRepeated": Wording(TOOL, "asked for again: gets the first answer", FAINT),
    "CancelTools": Wording(ENGINE, "→ cancel tools[: {reason}]"),
    # orders, limits and faults
    "DialAgent": Wording(ENGINE, "→ dial the agent", FAINT),
    "SayLine": Wording(ENGINE, "→ say a line of our own[ ({kind})]"),
    "TellAgent": Wording(ENGINE, "→ tell the agent[ ({role})]: {content:quote}", FAINT),
    "NotTold": Wording(ENGINE, "the agent was not there to be told", FAINT),
    "EndAgent": Wording(ENGINE, "→ end the agent[: {reason}]", FAINT),
    "HandOver": Wording(ENGINE, "→ hand over[ to {number:masked}][: {reason}][ · {words:quote}]", LOUD),
    "HangUp": Wording(ENGINE, "→ hang up[: {reason}]"),
    "RescueByRest": Wording(ENGINE, "→ push the call to its next TwiML through REST[: {reason}]", LOUD),
    "HangUpOrdered": Wording(ENGINE, "the call is to end[: {reason}]"),
    "TransferOrdered": Wording(ENGINE, "a transfer was ordered[ to {number:masked}]"),
    "DeadlinePassed": Wording(ENGINE, "the phase's time is over", FAINT),
    "ActorGaveUp": Wording(ENGINE, "GAVE UP[: {why}]", BAD),
    "GaveUp": Wording(ENGINE, "crashed more often than its budget allows[: {why}]", BAD),
    "Restarted": Wording(ENGINE, "crashed and was started again[ ({after})]", BAD),
    "Rescued": Wording(TWILIO, "takes the call to its next TwiML", "", "alive", "the call was over already"),
    "RescueFailed": Wording(TWILIO, "did NOT take the call back[: {why}]", BAD),
    "OddMessage": Wording(ENGINE, "odd message[ from {leg}][: {what}]", FAINT),
    "OperatorAction": Wording(
        CALL,
        "{by} ordered {action}[ to {to}][: {text:quote}][ · {note:quote}]",
        LOUD,
        "done",
        "{by} ordered {action}[: {text:quote}], but the agent was not there",
    ),
    "Opened": Wording(CALL, "call[ from {from:masked}][ to {to:masked}][ · agent {agent}][ · {direction}]", "bold"),
    "AnsweredBy": Wording(TWILIO, "machine detection: {by}", LOUD),
    "Closed": Wording(
        CALL, "over[: {outcome}][ · {reason}][ · {duration_ms:seconds}][ · recording: {recording_problem}]", "bold"
    ),
}


def as_quote(value: object) -> str:
    return f"“{clean(value, LONGEST_QUOTE_CHARS)}”"


def as_ms(value: object) -> str:
    return f"{value:.0f} ms" if isinstance(value, int | float) else clean(value)


def as_seconds(value: object) -> str:
    """Milliseconds as seconds."""
    return f"{value / 1000:.1f} s" if isinstance(value, int | float) else clean(value)


def as_arguments(value: object) -> str:
    if not isinstance(value, Mapping):
        return clean(value)
    return ", ".join(f"{clean(key)}={as_value(one)}" for key, one in value.items())


def as_masked(value: object) -> str:
    return masked(clean(value))


def as_value(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    shown = clean(text)
    return f"“{shown}”" if isinstance(value, str) and " " in shown else shown


WAYS: Mapping[str, Callable[[object], str]] = {
    "quote": as_quote,
    "ms": as_ms,
    "seconds": as_seconds,
    "arguments": as_arguments,
    "masked": as_masked,
}

_NUMBERS = frozenset({"from", "to", "number", "from_number", "to_number"})
_SECRET = re.compile(r"token|secret|url|auth|password|digit|api_?key", re.IGNORECASE)
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")


def clean(value: object, longest: int = LONGEST_VALUE_CHARS) -> str:
    """One line of what a terminal may show: what callers and models say must not steer it."""
    text = " ".join(str(value).split())
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "�" for char in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def fill(template: str, data: Mapping[str, Any]) -> str:
    """The template with the data in it.

    Raises:
        KeyError: a field outside of brackets is missing.
    """

    pieces = _OPTIONAL.split(template)  # plain and optional parts take turns
    filled = [_optional(piece, data) if index % 2 else _fill_fields(piece, data) for index, piece in enumerate(pieces)]
    return "".join(filled)


def generic(name: str, data: Mapping[str, Any]) -> str:
    """A record that has no row: its name, and what it holds, without secrets and numbers."""
    return " ".join([clean(name), *(f"{clean(key)}={_safe(key, value)}" for key, value in data.items())])


def _safe(key: str, value: object) -> str:
    if _SECRET.search(key):
        return "…"
    return as_masked(value) if key in _NUMBERS and value is not None else as_value(value)


def _optional(part: str, data: Mapping[str, Any]) -> str:
    try:
        return _fill_fields(part, data)
    except KeyError:
        return ""


def _fill_fields(part: str, data: Mapping[str, Any]) -> str:
    def field(found: re.Match[str]) -> str:
        value = data.get(found[1])
        if value is None or value == "":
            raise KeyError(found[1])
        return WAYS.get(found[2] or "", clean)(value)

    return _FIELD.sub(field, part)
