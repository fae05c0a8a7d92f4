"""What one call leaves for insights, noted record by record. Pure and plain: it is stored between two records.

It stands in each call's summary (`web.api.summary`), so that one reading of the journal serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from engine.journal import Kind, Record
from web.insights.outcomes import Ending

__all__ = ["Facts", "ToolFacts"]

MOST_NAMES = 40  # of tools and of reasons in one call; more are counted as the last one
MOST_SAMPLES = 500
MOST_CHARS = 60
OTHERS = "others"


class ToolFacts(msgspec.Struct):
    asked: int = 0
    failed: int = 0
    took_ms: list[float] = []


class Silence(msgspec.Struct):
    """The stretch of silence in which the caller waits: for an answer, a greeting, or a tool.

    A line of our own ends the stretch, but not the debt: what comes after it is a stretch again.
    """

    since_ms: float = -1.0  # nobody is heard since then
    speaking: bool = False  # something of ours is heard, or held for a moment: what the caller murmurs changes nothing
    voiced: bool = False
    owed: bool = False
    words: bool = False  # of the caller's, since the agent was last heard
    longest_ms: float = 0.0

    def begin(self, at_ms: float) -> None:
        self.since_ms = at_ms

    def now_ms(self, at_ms: float) -> float:
        """How long they have waited by then."""
        return max(0.0, at_ms - self.since_ms) if self.since_ms >= 0 and (self.owed or self.words) else 0.0

    def end(self, at_ms: float) -> None:
        self.longest_ms = max(self.longest_ms, self.now_ms(at_ms))
        self.since_ms = -1.0


class Facts(msgspec.Struct):
    """One call so far. Times are milliseconds on its clock."""

    agent_heard: bool = False
    silence: Silence = msgspec.field(default_factory=Silence)
    owed_at_end_ms: float | None = None
    tools: dict[str, ToolFacts] = {}
    waiting: dict[str, str] = {}  # tool calls without an answer yet: id → name
    tool_failed: bool = False  # the last that answered
    cut: dict[str, int] = {}  # interruptions that ended what the agent said, by reason
    held: dict[str, int] = {}  # … after which it went on
    cost_usd: float | None = None
    cost_reported: bool = False  # Vapi's own figure; otherwise our estimate
    ended_by_tool: str | None = None
    not_taken_back: bool = False

    def take(self, record: Record) -> None:
        if record.kind is Kind.PHASE:
            _phase(self, record)
            return
        note = _NOTES.get(record.name)
        if note is not None:
            note(self, record)

    def ending(self, *, reason: str, state: str, duration_ms: float) -> Ending:
        """What decides how it ended."""
        return Ending(
            reason=reason,
            state=state,
            agent_heard=self.agent_heard,
            duration_ms=duration_ms,
            owed_ms=self.owed_at_end_ms or 0.0,
            tool_open=bool(self.waiting) or self.tool_failed,
            by_tool=self.ended_by_tool is not None and self.ended_by_tool == reason,
            not_taken_back=self.not_taken_back,
        )


def _phase(facts: Facts, record: Record) -> None:
    silence, before = facts.silence, record.data.get("from")
    silence.speaking = record.name == "speaking"
    if record.name == "listening" and before == "connecting":
        silence.begin(record.at_ms)
        silence.owed = True  # the greeting
    elif record.name == "interrupted":  # by what counts
        silence.words = True
        if not silence.voiced:
            silence.begin(record.at_ms)
    elif record.name == "ended":
        _over(facts, record)


def _over(facts: Facts, record: Record) -> None:
    if facts.owed_at_end_ms is None:
        facts.owed_at_end_ms = round(facts.silence.now_ms(record.at_ms), 1)
        facts.silence.end(record.at_ms)


def _voice(facts: Facts, record: Record) -> None:
    silence = facts.silence
    silence.voiced = True
    if silence.owed and not facts.agent_heard and not silence.words:
        silence.since_ms = -1.0  # the caller opens the conversation: perhaps as the agent file wants it
        silence.owed = False
    silence.end(record.at_ms)


def _quiet(facts: Facts, record: Record) -> None:
    facts.silence.voiced = False
    if not facts.silence.speaking:
        facts.silence.begin(record.at_ms)


def _words(facts: Facts, record: Record) -> None:
    if not facts.silence.speaking:
        facts.silence.words = True


def _key(facts: Facts, record: Record) -> None:
    facts.silence.words = True
    facts.silence.begin(record.at_ms)


def _heard(facts: Facts, record: Record) -> None:
    silence = facts.silence
    silence.end(record.at_ms)
    if record.data.get("ours"):
        silence.owed = silence.owed or silence.words
    else:
        facts.agent_heard, facts.tool_failed = True, False
        silence.owed = silence.words = False


def _played(facts: Facts, record: Record) -> None:
    if facts.silence.owed or facts.waiting:
        facts.silence.owed = True
        facts.silence.begin(record.at_ms)


def _tool_asked(facts: Facts, record: Record) -> None:
    name, tool_call_id = _name(record.data.get("name")), record.data.get("tool_call_id")
    _tool(facts, name).asked += 1
    if isinstance(tool_call_id, str) and len(facts.waiting) < MOST_NAMES:
        facts.waiting[tool_call_id] = name
    if facts.silence.since_ms >= 0:
        facts.silence.owed = True


def _tool_answered(facts: Facts, record: Record) -> None:
    data = record.data
    name = facts.waiting.pop(str(data.get("tool_call_id")), None)
    if name is None:
        return
    tool, took_ms = _tool(facts, name), data.get("took_ms")
    if isinstance(took_ms, int | float) and len(tool.took_ms) < MOST_SAMPLES:
        tool.took_ms.append(float(took_ms))


def _tool_result(facts: Facts, record: Record) -> None:
    facts.tool_failed = record.data.get("ok") is False
    if facts.tool_failed:
        _tool(facts, _name(record.data.get("name"))).failed += 1


def _tool(facts: Facts, name: str) -> ToolFacts:
    if name not in facts.tools and len(facts.tools) >= MOST_NAMES:
        name = OTHERS
    return facts.tools.setdefault(name, ToolFacts())


def _interrupted(facts: Facts, record: Record) -> None:
    counts = facts.cut if record.data.get("decision") == "dropped" else facts.held
    reason = _name(record.data.get("reason"))
    if reason not in counts and len(counts) >= MOST_NAMES:
        reason = OTHERS
    counts[reason] = counts.get(reason, 0) + 1


def _spent(facts: Facts, record: Record) -> None:
    usd, reported = record.data.get("usd"), record.data.get("how") == "report"
    if isinstance(usd, int | float) and usd >= 0 and (reported or not facts.cost_reported):
        facts.cost_usd, facts.cost_reported = float(usd), reported


def _end_ordered(facts: Facts, record: Record) -> None:
    reason = record.data.get("reason")
    facts.ended_by_tool = reason if isinstance(reason, str) else None


def _not_taken_back(facts: Facts, record: Record) -> None:
    facts.not_taken_back = True


def _name(value: object) -> str:
    return value[:MOST_CHARS] if isinstance(value, str) and value else "unknown"


_NOTES: Mapping[str, Callable[[Facts, Record], None]] = {
    "CallerVoice": _voice,
    "CallerQuiet": _quiet,
    "CallerTranscript": _words,
    "DigitPressed": _key,
    "UtteranceStarted": _heard,
    "PlaybackDone": _played,
    "ToolRequested": _tool_asked,
    "ToolAnswered": _tool_answered,
    "ToolResult": _tool_result,
    "Interruption": _interrupted,
    "Spent": _spent,
    "EndOrdered": _end_ordered,
    "RescueFailed": _not_taken_back,
    "Closed": _over,
}
