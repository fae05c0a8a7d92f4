"""What happened in a call, told in sentences. Pure: records in, a line for each thing that a person would tell.

The time of day is not in the sentence: `at` stands beside it, and the page says it in its reader's zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.journal import Kind, Record
from engine.masking import masked
from web.api.summary import iso
from web.api.types import StoryLine
from web.wording import clean

__all__ = ["story"]

LONGEST_CHARS = 160
SLOW_AGENT_MS = 1500.0
_NOISES: Mapping[str, str] = {
    "noise": "it was a noise",
    "no words": "it was a voice without words",
    "backchannel": "it was a word of agreement",
    "echo": "it was the agent's own echo",
}
_MADE_BY: Mapping[str, str] = {
    "vapi": "Vapi heard them cut in",
    "key": "they pressed a key",
    "late": "it came too late",
}


class _Teller:
    """Reads on, and remembers what a later sentence needs."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.lines: list[StoryLine] = []
        self._records = records
        self._heard_first = False
        self._tools: dict[str, str] = {}
        self._kept: dict[str, Record] = {}  # what a tool has done, while the agent has not yet said so
        self._commits: set[str] = set()

    def tell(self, record: Record, text: str, *, at_ms: float | None = None) -> None:
        """One sentence; `at_ms` when it began before the record was written."""
        earlier_s = 0.0 if at_ms is None else (record.at_ms - at_ms) / 1000
        self.lines.append(StoryLine(record.at_ms if at_ms is None else at_ms, iso(record.wall_s - earlier_s), text))

    def take(self, record: Record) -> None:
        told = _TELL.get(record.name)
        if told is not None:
            told(self, record)
        elif record.kind is Kind.PHASE and record.name == "transferring":
            self.tell(record, "the call was given back to Twilio")

    # --- one way for each kind of happening ------------------------------------------------------------------------

    def opened(self, record: Record) -> None:
        data = record.data
        caller = masked(str(data.get("from") or "")) or "somebody"
        self.tell(record, f"a call came in from {caller} for the agent {clean(data.get('agent') or '?')}")

    def agent_connected(self, record: Record) -> None:
        slow = record.at_ms > SLOW_AGENT_MS
        self.tell(record, f"the agent was there{' only' if slow else ''} {record.at_ms:.0f} ms after the call came in")

    def utterance(self, record: Record) -> None:
        if record.data.get("ours"):
            return
        if not self._heard_first:
            self._heard_first = True
            self.tell(record, "the caller heard the agent for the first time")

    def heard(self, record: Record) -> None:
        text = _quote(record.data.get("text"))
        if text and record.data.get("cut") is not True:
            self.tell(record, f"the agent said {text}")
        if record.data.get("cut") is not True:
            self._kept.clear()  # the agent came to say what was done

    def caller(self, record: Record) -> None:
        text = _quote(record.data.get("text"))
        if text and record.data.get("final"):
            self.tell(record, f"the caller said {text}")

    def line(self, record: Record) -> None:
        kind = clean(record.data.get("kind") or "line")
        self.tell(record, f"nothing else was to be heard, so we said {_quote(record.data.get('text'))} ({kind})")

    def interrupted(self, record: Record) -> None:
        data = record.data
        onset_ms = _number(data, "onset_at")
        at_ms = None if onset_ms is None else round(onset_ms * 1000, 1)
        silent_ms, reason = _number(data, "silent_ms"), clean(data.get("reason") or "")
        silence = f"; the agent was silent {silent_ms:.0f} ms later" if silent_ms is not None else ""
        if data.get("decision") == "dropped":
            words = _quote(data.get("words"))
            why = f" with {words}" if words else f" ({_MADE_BY[reason]})" if reason in _MADE_BY else ""
            text = f"the caller cut in{why}{silence}{self._what_was_lost(data)}{self._what_was_kept(at_ms)}"
        else:
            hold_ms, decided_ms = _number(data, "hold_ms"), _number(data, "decided_ms")
            held = f" {decided_ms - hold_ms:.0f} ms later" if hold_ms is not None and decided_ms is not None else ""
            noise = _NOISES.get(reason, f"it was nothing ({reason})" if reason else "it was nothing")
            text = f"something was heard from the caller{silence}; {noise}, so the agent went on{held}"
        self.tell(record, text, at_ms=at_ms)

    def _what_was_lost(self, data: Mapping[str, Any]) -> str:
        unheard_ms = _number(data, "unheard_ms")
        if unheard_ms is None or unheard_ms < 50:
            return ""
        return f"; {unheard_ms / 1000:.1f} s of what it was saying were not heard"

    def _what_was_kept(self, at_ms: float | None) -> str:
        """What a tool had done by then stays done, though the caller did not hear of it."""
        done = [
            self._tools.get(tool_call_id, "a tool")
            for tool_call_id, record in self._kept.items()
            if at_ms is None or record.at_ms <= at_ms
        ]
        return f"; {' and '.join(clean(name) for name in done)} had been done already, so it was kept" if done else ""

    def tool_asked(self, record: Record) -> None:
        name = str(record.data.get("name") or "a tool")
        self._tools[str(record.data.get("tool_call_id"))] = name
        self.tell(record, f"the agent asked for {clean(name)}")

    def tool_intent(self, record: Record) -> None:
        self._commits.add(str(record.data.get("tool_call_id")))

    def tool_result(self, record: Record) -> None:
        data, tool_call_id = record.data, str(record.data.get("tool_call_id"))
        name = clean(self._tools.get(tool_call_id) or data.get("name") or "a tool")
        answer = _quote(data.get("text"))
        if data.get("ok"):
            self.tell(record, f"{name} answered{f' {answer}' if answer else ''}")
            if tool_call_id in self._commits:
                self._kept[tool_call_id] = record
        else:
            self.tell(record, f"{name} failed{f': {answer}' if answer else ''}")

    def tool_repeated(self, record: Record) -> None:
        name = clean(self._tools.get(str(record.data.get("tool_call_id")), "a tool"))
        self.tell(record, f"{name} was asked for again and got the first answer; it did not run twice")

    def digits(self, record: Record) -> None:
        if not any(one.name == "DigitPressed" and one.seq < record.seq for one in self._records):
            self.tell(record, "the caller began to press keys")

    def operator(self, record: Record) -> None:
        data = record.data
        who, words = clean(data.get("by") or "an operator"), _quote(data.get("text"))
        did = {
            "say": f"let the agent say {words}",
            "mute_assistant": "silenced the agent",
            "unmute_assistant": "let the agent speak again",
            "hang_up": "ended the call",
            "transfer": f"transferred the call to {clean(data.get('to') or 'a person')}",
            "mark": "marked the call",
            "unmark": "took the mark away",
        }.get(str(data.get("action")), f"did {clean(data.get('action'))}")
        self.tell(record, f"{who} {did}{'' if data.get('done') is not False else ', but the agent was not there'}")

    def hand_over(self, record: Record) -> None:
        number, reason = record.data.get("number"), clean(record.data.get("reason") or "")
        to = f" and then dials {masked(str(number))}" if number else ""
        self.tell(record, f"Twilio takes the call back, says our words{to} ({reason})")

    def closed(self, record: Record) -> None:
        data = record.data
        duration_ms, reason = _number(data, "duration_ms") or record.at_ms, clean(data.get("reason") or "")
        why = f": {reason}" if reason else ""
        self.tell(
            record, f"the call was over after {duration_ms / 1000:.1f} s, {clean(data.get('outcome') or '')}{why}"
        )


def _with(text: str, field: str) -> Callable[[_Teller, Record], None]:
    def tell(teller: _Teller, record: Record) -> None:
        value = record.data.get(field)
        teller.tell(record, f"{text}: {clean(value)}" if value else text)

    return tell


_TELL: Mapping[str, Callable[[_Teller, Record], None]] = {
    "Opened": _Teller.opened,
    "AgentConnected": _Teller.agent_connected,
    "UtteranceStarted": _Teller.utterance,
    "AgentHeard": _Teller.heard,
    "CallerTranscript": _Teller.caller,
    "Line": _Teller.line,
    "Interruption": _Teller.interrupted,
    "ToolRequested": _Teller.tool_asked,
    "ToolIntent": _Teller.tool_intent,
    "ToolResult": _Teller.tool_result,
    "ToolRepeated": _Teller.tool_repeated,
    "DigitPressed": _Teller.digits,
    "OperatorAction": _Teller.operator,
    "HandOver": _Teller.hand_over,
    "AgentLost": _with("the agent was lost", "why"),
    "AgentEnded": _with("the agent ended the conversation", "reason"),
    "CallerHungUp": _with("the caller was gone", "status"),
    "ActorGaveUp": _with("the call's own program crashed too often and gave up", "why"),
    "Restarted": _with("the call's own program crashed and was started again", "after"),
    "RescueFailed": _with("Twilio could not be made to take the call back", "why"),
    "Closed": _Teller.closed,
}


def story(records: Sequence[Record], *, lost: bool = False) -> list[StoryLine]:
    """The account of one call, in the order in which things happened.

    Args:
        lost: the call has no end in the journal, and nobody lives it any more.
    """
    teller = _Teller(records)
    for record in records:
        teller.take(record)
    told = sorted(teller.lines, key=lambda line: line.at_ms)
    if lost and records:
        last = records[-1]
        text = "the journal stops here: the process that held the call was killed"
        told.append(StoryLine(last.at_ms, iso(last.wall_s), text))
    return told


def _quote(value: object) -> str:
    text = clean(value, LONGEST_CHARS) if isinstance(value, str) else ""
    return f"“{text}”" if text else ""


def _number(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) else None
