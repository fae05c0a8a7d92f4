"""What a list says of a call, kept up to date record by record. Pure: records in, one summary a call.

A summary is plain data, so that it can be stored between two records (`web.api.index`) and go on from there. What is
costly to know (the story, the lanes) is not in it: that is made from the call's records when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.journal import Kind, Record
from engine.masking import masked
from web.api.types import CallRow, LastWords, TurnLatency
from web.insights.facts import Facts
from web.percentiles import percentile

SUMMARY_VERSION = 2  # raised when summaries hold something new: the index is then made anew
MOST_TURNS = 500
MOST_CHARS = 300
LOST = "lost"  # the outcome of a call whose process was killed: its journal has no end


class TurnClock(msgspec.Struct):
    """When the caller's voice ended, and whether they had said anything: the start of the agent's turn."""

    quiet_ms: float = -1.0
    words: bool = False

    def take(self, record: Record) -> float | None:
        """The latency of a turn, with the record that ends it."""
        name, data = record.name, record.data
        if name == "CallerQuiet":
            self.quiet_ms = record.at_ms
        elif name == "CallerVoice":
            self.quiet_ms = -1.0
        elif name == "CallerTranscript":
            self.words = True
        elif name == "UtteranceStarted" and not data.get("ours"):
            quiet_ms, words, self.quiet_ms, self.words = self.quiet_ms, self.words, -1.0, False
            if words and quiet_ms >= 0:
                return round(record.at_ms - quiet_ms, 1)
        return None


class Summary(msgspec.Struct):
    """One call so far. Times are milliseconds on the call's clock, unless they say wall."""

    id: str
    seq: int = -1
    last_at_ms: float = 0.0
    last_wall_s: float = 0.0
    began_wall_s: float = 0.0
    agent: str | None = None
    direction: str | None = None
    from_masked: str | None = None
    to_masked: str | None = None
    phase: str | None = None
    closed: bool = False
    outcome: str | None = None
    reason: str | None = None
    ended_reason: str | None = None  # Vapi's
    duration_ms: float = 0.0
    last_who: str = ""
    last_text: str = ""
    last_words_ms: float = 0.0
    latencies_ms: list[float] = []
    silent_ms: list[float] = []  # from each interruption's onset to silence
    interruptions: int = 0
    resumed: int = 0
    lines: int = 0
    tools: int = 0
    tools_failed: int = 0
    muted: bool = False
    marked: bool = False
    recorded_ms: float = 0.0
    recording_problem: str | None = None
    clock: TurnClock = msgspec.field(default_factory=TurnClock)
    insight: Facts = msgspec.field(default_factory=Facts)

    @property
    def ended(self) -> bool:
        return self.closed or self.outcome is not None

    def take(self, record: Record) -> bool:
        """Note a record. Returns whether what a list shows has changed."""
        if record.seq <= self.seq:
            return False  # read twice
        self.seq = record.seq
        self.last_at_ms = max(self.last_at_ms, record.at_ms)
        if not self.last_wall_s:
            self.began_wall_s = round(record.wall_s - record.at_ms / 1000, 3)
        self.last_wall_s = record.wall_s
        self.insight.take(record)
        if self.outcome == LOST and not self.closed:
            self.outcome = self.reason = None  # it lives after all
        latency_ms = self.clock.take(record)
        if latency_ms is not None and len(self.latencies_ms) < MOST_TURNS:
            self.latencies_ms.append(latency_ms)
            _TAKE.get(record.name, _nothing)(self, record)
            return True
        if record.kind is Kind.PHASE:
            self.phase = record.name
            return True
        return _TAKE.get(record.name, _nothing)(self, record)

    def lose(self) -> None:
        """Nothing more will come of it: its process was killed."""
        self.outcome, self.reason, self.duration_ms = LOST, "its process ended before the call did", self.last_at_ms

    def row(self, now_wall_s: float) -> CallRow:
        live = not self.ended
        duration_ms = (now_wall_s - self.began_wall_s) * 1000 if live else self.duration_ms
        ordered = sorted(self.latencies_ms)
        words = LastWords(self.last_who, self.last_text, self.last_words_ms) if self.last_who else None
        return CallRow(
            id=self.id,
            agent=self.agent,
            direction=self.direction,
            from_=self.from_masked,
            to=self.to_masked,
            began_at=iso(self.began_wall_s),
            began_ms=round(self.began_wall_s * 1000),
            duration_ms=max(0.0, round(duration_ms)),
            phase=self.phase,
            state="live" if live else "ended",
            outcome=self.outcome,
            reason=self.reason,
            last_words=words,
            latency_ms=TurnLatency(
                len(ordered),
                percentile(ordered, 50) if ordered else None,
                percentile(ordered, 95) if ordered else None,
            ),
            interruptions=self.interruptions,
            tools=self.tools,
            tools_failed=self.tools_failed,
            muted=self.muted and live,
            marked=self.marked,
            has_recording=self.recorded_ms > 0,
        )


def iso(wall_s: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond."""
    try:
        return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a broken clock must not hide a call
        return "1970-01-01T00:00:00.000Z"


def summarise(records: Sequence[Record]) -> Summary:
    """The summary of one call's records; at least one."""
    summary = Summary(records[0].call_id)
    for record in records:
        summary.take(record)
    return summary


def _nothing(summary: Summary, record: Record) -> bool:
    return False


def _text(value: object) -> str | None:
    return value[:MOST_CHARS] if isinstance(value, str) else None


def _number(value: object) -> str | None:
    return masked(value) if isinstance(value, str) else None


def _opened(summary: Summary, record: Record) -> bool:
    data = record.data
    summary.began_wall_s = record.wall_s
    summary.agent, summary.direction = _text(data.get("agent")), _text(data.get("direction"))
    summary.from_masked, summary.to_masked = _number(data.get("from")), _number(data.get("to"))
    summary.phase = summary.phase or "connecting"
    return True


def _closed(summary: Summary, record: Record) -> bool:
    if summary.closed:
        return False
    data = record.data
    duration_ms, recording = data.get("duration_ms"), data.get("recording")
    summary.closed = True
    summary.outcome = _text(data.get("outcome")) or "over"
    summary.reason = _text(data.get("reason"))
    summary.duration_ms = float(duration_ms) if isinstance(duration_ms, int | float) else record.at_ms
    if isinstance(recording, Mapping):
        summary.recording_problem = _text(recording.get("problem"))
        recorded_ms = recording.get("duration_ms")
        if recording.get("path") and isinstance(recorded_ms, int | float):
            summary.recorded_ms = float(recorded_ms)
    return True


def _said(who: str) -> Callable[[Summary, Record], bool]:
    def take(summary: Summary, record: Record) -> bool:
        text = record.data.get("text")
        if not isinstance(text, str) or not text or record.data.get("final") is False:
            return False
        summary.last_who, summary.last_text, summary.last_words_ms = who, text[:MOST_CHARS], record.at_ms
        return True

    return take


def _line(summary: Summary, record: Record) -> bool:
    summary.lines += 1
    return _said("line")(summary, record)


def _interrupted(summary: Summary, record: Record) -> bool:
    silent_ms = record.data.get("silent_ms")
    if isinstance(silent_ms, int | float) and len(summary.silent_ms) < MOST_TURNS:
        summary.silent_ms.append(float(silent_ms))
    if record.data.get("decision") == "dropped":
        summary.interruptions += 1
    else:
        summary.resumed += 1
    return True


def _tool_asked(summary: Summary, record: Record) -> bool:
    summary.tools += 1
    return True


def _tool_answered(summary: Summary, record: Record) -> bool:
    if record.data.get("ok") is not False:
        return False
    summary.tools_failed += 1
    return True


def _reported(summary: Summary, record: Record) -> bool:
    summary.ended_reason = _text(record.data.get("ended_reason"))
    return False


def _operator(summary: Summary, record: Record) -> bool:
    action = record.data.get("action")
    if action in ("mark", "unmark"):
        summary.marked = action == "mark"
    elif action in ("mute_assistant", "unmute_assistant") and record.data.get("done") is not False:
        summary.muted = action == "mute_assistant"
    else:
        return False
    return True


_TAKE: Mapping[str, Callable[[Summary, Record], bool]] = {
    "Opened": _opened,
    "Closed": _closed,
    "CallerTranscript": _said("caller"),
    "AgentHeard": _said("agent"),
    "Line": _line,
    "Interruption": _interrupted,
    "ToolRequested": _tool_asked,
    "ToolResult": _tool_answered,
    "ReportArrived": _reported,
    "OperatorAction": _operator,
}


def searched(summary: Summary) -> str:
    """What `q` looks in."""
    some: list[Any] = [
        summary.id, summary.agent, summary.from_masked, summary.to_masked, summary.outcome, summary.reason,
        summary.ended_reason, summary.last_text,
    ]  # fmt: skip
    return "\n".join(str(one) for one in some if one).casefold()
