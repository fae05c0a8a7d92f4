"""A call's journal as lines that people read: milliseconds, who, what. Knows records, nothing of how they are kept.

    0.000  call     call from +1•••23 to +1•••99 · agent bistro · inbound
    3.402  caller   voice begins
    3.402           speaking → interrupted
    3.403  engine   BARGE-IN: clear sent 43 ms after the caller's first voice · 1240 ms heard · 2100 ms dropped

How each happening reads is in `web.wording`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from engine.journal import Kind, Record
from web.wording import (
    AGENT,
    BAD,
    CALL,
    CALLER,
    ENGINE,
    FAINT,
    LONGEST_QUOTE_CHARS,
    LOUD,
    TOOL,
    TWILIO,
    VAPI,
    WORDINGS,
    clean,
    fill,
    generic,
)

WHO_STYLES: Mapping[str, str] = {
    CALLER: "bold cyan",
    AGENT: "bold green",
    TWILIO: "magenta",
    VAPI: "blue",
    TOOL: "yellow",
    ENGINE: "dim",
    CALL: "bold",
}
PHASE_STYLES: Mapping[str, str] = {"interrupted": LOUD, "ended": "bold", "transferring": LOUD}
CUT = "✂"
GENERATED, HEARD = "AgentTranscript", "AgentHeard"
_HELD_FOR: Mapping[str, str] = {
    "noise": "for a noise",
    "no words": "for a voice without words",
    "backchannel": "for a backchannel",
    "echo": "for the agent's own echo",
}
_KEPT: Mapping[str, str] = {"keep": "kept whole in the record", "again": "to be said again"}
MOST_CALLS, MOST_TOOLS = 10_000, 100  # remembered; a live timeline may run for weeks
_SHORT_ID_CHARS = 6


@dataclass(slots=True)
class _Seen:
    """What earlier records of a call said that a later one needs."""

    seq: int
    phase: str = ""
    tools: dict[str, str] = field(default_factory=dict)  # id → name


class Timeline:
    """Turns records into lines, one after the other as they come; calls may be mixed.

    Args:
        relative: seconds since the call was admitted; otherwise the local time of day.
        show_call: the end of the call's id in each line, for when several calls are shown.
        only_heard: of the agent's words those that were heard, not those that were generated.
    """

    def __init__(self, *, relative: bool = True, show_call: bool = False, only_heard: bool = False) -> None:
        self._relative, self._show_call, self._only_heard = relative, show_call, only_heard
        self._seen: dict[str, _Seen] = {}

    def lines(self, record: Record) -> Iterator[Text]:
        """The record as a line; before it a line that says how many are missing, if any are."""
        seen = self._seen.get(record.call_id)
        if seen is None:
            while len(self._seen) >= MOST_CALLS:
                del self._seen[next(iter(self._seen))]
            seen = self._seen[record.call_id] = _Seen(record.seq)
        elif record.seq > seen.seq + 1:
            missing = record.seq - seen.seq - 1
            yield self._line(record, "", f"… {missing} record{'s are' if missing > 1 else ' is'} missing here", BAD)
        seen.seq = max(seen.seq, record.seq)
        if record.kind is Kind.PHASE:
            yield self._phase(record, seen)
        elif not (self._only_heard and record.name == GENERATED):
            who, what, style = _words(record, seen)
            yield self._line(record, who, what, style).append(_unheard(record), FAINT)
        if record.kind is Kind.CLOSED:
            del self._seen[record.call_id]

    def _phase(self, record: Record, seen: _Seen) -> Text:
        before = clean(record.data.get("from") or seen.phase)
        seen.phase = record.name
        what = f"{before} → {clean(record.name)}" if before else clean(record.name)
        return self._line(record, "", what, PHASE_STYLES.get(record.name, "bold blue"))

    def _line(self, record: Record, who: str, what: str, style: str) -> Text:
        line = Text(no_wrap=False, overflow="fold")
        line.append(self._time(record), "dim")
        if self._show_call:
            line.append(f"  {clean(record.call_id[-_SHORT_ID_CHARS:])}", "dim")
        line.append(f"  {who:<7}", WHO_STYLES.get(who, ""))
        line.append(f"  {what}", style)
        return line

    def _time(self, record: Record) -> str:
        if self._relative:
            return f"{record.at_ms / 1000:9.3f}"
        try:
            return f"{datetime.fromtimestamp(record.wall_s).astimezone():%H:%M:%S.%f}"[:-3]
        except (ValueError, OverflowError, OSError):  # a broken clock must not hide the record
            return f"{'?':>12}"


def rich_lines(records: Iterable[Record], *, relative: bool = True) -> Iterator[Text]:
    """One call's records as styled lines for a rich console. The agent's words are those heard, if that is known."""
    records = list(records)
    timeline = Timeline(relative=relative, only_heard=any(record.name == HEARD for record in records))
    for record in records:
        yield from timeline.lines(record)


def render(records: Iterable[Record], *, color: bool, relative: bool = True) -> Iterator[str]:
    """One call's records as lines of text, with ANSI colours or without."""
    lines = rich_lines(records, relative=relative)
    if not color:
        yield from (line.plain.rstrip() for line in lines)
        return
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="standard", no_color=False, legacy_windows=False
    )
    for line in lines:
        with console.capture() as captured:
            console.print(line, end="", soft_wrap=True, highlight=False)
        yield captured.get()


def _words(record: Record, seen: _Seen) -> tuple[str, str, str]:
    """Who, what, and how it looks."""
    data = _with_context(record, seen)
    wording = WORDINGS.get(record.name)
    if wording is not None:
        otherwise = bool(wording.flag) and data.get(wording.flag) is False
        try:
            what = fill(wording.otherwise if otherwise else wording.text, data)
        except KeyError:
            pass
        else:
            return wording.who, what, wording.otherwise_style if otherwise else wording.style
    opens_or_closes = record.kind in (Kind.OPENED, Kind.CLOSED)
    prefix = "→ " if record.kind is Kind.EFFECT else ""
    return CALL if opens_or_closes else ENGINE, prefix + generic(record.name, data), FAINT


def _with_context(record: Record, seen: _Seen) -> Mapping[str, Any]:
    data = record.data
    tool_call_id = data.get("tool_call_id")
    if isinstance(tool_call_id, str):
        name = data.get("name")
        if isinstance(name, str):
            if len(seen.tools) < MOST_TOOLS:
                seen.tools[tool_call_id] = name
        elif tool_call_id in seen.tools:
            return {**data, "name": seen.tools[tool_call_id]}
    if record.name == "Interruption":
        return {**data, **_certificate(data)}
    if record.name == HEARD:
        mark, kept = CUT if data.get("cut") is True else "", _KEPT.get(str(data.get("policy")), "")
        return {**data, "any_heard": bool(data.get("text")), "mark": mark, "kept": kept if mark else ""}
    recording = data.get("recording")
    if record.kind is Kind.CLOSED and isinstance(recording, Mapping):
        return {**data, "recording_problem": recording.get("problem")}
    return data


def _certificate(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the wording of an interruption wants beside its data."""
    hold_ms, decided_ms, reason = data.get("hold_ms"), data.get("decided_ms"), clean(data.get("reason") or "unknown")
    held = isinstance(hold_ms, int | float) and isinstance(decided_ms, int | float)
    return {
        "reason": reason,
        "dropped": data.get("decision") == "dropped",
        "held_ms": float(decided_ms or 0) - float(hold_ms or 0) if held else None,
        "held_for": _HELD_FOR.get(reason, f"({reason})"),
    }


def _unheard(record: Record) -> str:
    """The words that were generated and not heard, to stand behind those that were."""
    text, generated = record.data.get("text"), record.data.get("generated")
    if record.name != HEARD or not isinstance(text, str) or not isinstance(generated, str):
        return ""
    rest = generated[len(text) :].strip() if generated.startswith(text) else generated
    return f" {clean(rest, LONGEST_QUOTE_CHARS)}" if rest else ""
