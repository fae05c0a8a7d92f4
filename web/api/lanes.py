"""One call as lanes over time: who was heard when, what was held and dropped, and what happened beside. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.journal import Kind, Record
from web.api.turns import turns
from web.api.types import Lane, Lanes, Point, Span
from web.wording import clean

__all__ = ["LANES", "lanes"]

LANES = ("phases", "caller", "agent", "held", "dropped", "transcript", "tools", "lines", "webhooks")
_WEBHOOKS = frozenset({"Webhook", "StreamStatus", "ReportArrived", "HandedOver", "AgentCreated", "CallerHungUp"})
_TIMERS = frozenset({"DeadlinePassed"})
LONGEST_CHARS = 400


class _Drawing:
    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {name: [] for name in LANES}
        self.points: dict[str, list[Point]] = {name: [] for name in LANES}
        self._opened_at_s: float | None = None  # on the clock of the events
        self._open: dict[str, tuple[str, float, str, str, str]] = {}  # key → lane, since, text, kind, who

    def opened(self, record: Record) -> None:
        at_s = record.data.get("opened_at_s")
        self._opened_at_s = float(at_s) if isinstance(at_s, int | float) else None

    def onset_ms(self, record: Record) -> float:
        """When a voice began: a little before it was known for one. Old journals cannot tell."""
        onset_at_s = record.data.get("onset_at")
        if self._opened_at_s is None or not isinstance(onset_at_s, int | float):
            return record.at_ms
        return min(record.at_ms, max(0.0, round((onset_at_s - self._opened_at_s) * 1000, 1)))

    def begin(self, key: str, lane: str, at_ms: float, *, text: str = "", kind: str = "", who: str = "") -> None:
        self._open.setdefault(key, (lane, at_ms, text, kind, who))

    def end(self, key: str, at_ms: float, *, text: str = "", kind: str = "", still: bool = False) -> None:
        if key in self._open:
            lane, from_ms, begun_text, begun_kind, who = self._open.pop(key)
            self.span(lane, from_ms, at_ms, text=text or begun_text, kind=kind or begun_kind, who=who, still=still)

    def span(
        self, lane: str, from_ms: float, to_ms: float, *, text: str = "", kind: str = "", who: str = "",
        still: bool = False,
    ) -> None:  # fmt: skip
        short = clean(text, LONGEST_CHARS)
        self.spans[lane].append(
            Span(from_ms=from_ms, to_ms=max(from_ms, to_ms), text=short, kind=kind, who=who, open=still)
        )

    def point(self, lane: str, at_ms: float, *, text: str = "", kind: str = "") -> None:
        self.points[lane].append(Point(at_ms=at_ms, text=clean(text, LONGEST_CHARS), kind=kind))

    def finish(self, at_ms: float, *, over: bool) -> Lanes:
        for key in list(self._open):
            self.end(key, at_ms, still=not over)
        found = [
            Lane(name, sorted(self.spans[name], key=lambda span: span.from_ms), self.points[name]) for name in LANES
        ]
        return Lanes(found, at_ms)


def lanes(records: Sequence[Record]) -> Lanes:
    """The lanes of one call, as far as it is."""
    drawing = _Drawing()
    closed = next((record for record in records if record.kind is Kind.CLOSED), None)
    ends = [record.at_ms for record in records if closed is None or record.seq <= closed.seq]
    drawing.begin("phase", "phases", 0.0, kind="connecting", text="connecting")
    for record in records:
        if record.kind is Kind.PHASE:
            drawing.end("phase", record.at_ms)
            if record.name != "ended":
                drawing.begin("phase", "phases", record.at_ms, kind=record.name, text=record.name)
        else:
            _draw(drawing, record)
    for turn in turns(records):
        end_ms = turn.at_ms if turn.end_ms is None else turn.end_ms
        drawing.span("transcript", turn.at_ms, end_ms, text=turn.text, kind="cut" if turn.cut else "", who=turn.who)
    return drawing.finish(max(ends, default=0.0), over=closed is not None)


def _draw(drawing: _Drawing, record: Record) -> None:  # noqa: PLR0912 — one case a record
    data, at_ms, name = record.data, record.at_ms, record.name
    match name:
        case "CallerVoice":
            drawing.begin("voice", "caller", drawing.onset_ms(record), kind="voice")
        case "Opened":
            drawing.opened(record)
        case "CallerQuiet":
            drawing.end("voice", at_ms)
        case "UtteranceStarted":
            drawing.end("agent", at_ms)
            drawing.begin("agent", "agent", at_ms, kind="line" if data.get("ours") else "agent")
        case "PlaybackDone":
            drawing.end("agent", at_ms)
        case "AgentHeard":
            _heard(drawing, record)
        case "Interruption":
            _interrupted(drawing, data)
        case "Drop":
            drawing.point("dropped", at_ms, text=str(data.get("words") or ""), kind=str(data.get("reason") or ""))
        case "Line":
            drawing.point("lines", at_ms, text=str(data.get("text") or ""), kind=str(data.get("kind") or ""))
        case "ToolRequested":
            key, text = f"tool {data.get('tool_call_id')}", str(data.get("name") or "")
            drawing.begin(key, "tools", at_ms, text=text, kind="running")
        case "ToolResult":
            drawing.end(f"tool {data.get('tool_call_id')}", at_ms, kind="ok" if data.get("ok") else "failed")
        case "OperatorAction":
            drawing.point("lines", at_ms, text=str(data.get("action") or ""), kind="operator")
        case _ if name in _TIMERS:
            drawing.point("lines", at_ms, text="the phase's time is over", kind="timer")
        case _ if name in _WEBHOOKS:
            text = data.get("type") or data.get("event") or data.get("ended_reason") or data.get("status") or name
            drawing.point("webhooks", at_ms, text=str(text), kind=name)
        case _:
            pass


def _heard(drawing: _Drawing, record: Record) -> None:
    """What the caller heard of one utterance; when they cut in, its span ends here."""
    data, text = record.data, str(record.data.get("text") or "")
    if data.get("cut") is True:
        drawing.end("agent", record.at_ms, text=text, kind="cut")
        generated, unheard_ms = str(data.get("generated") or ""), _ms(data, "of_ms") - _ms(data, "heard_ms")
        rest = generated[len(text) :].strip() if generated.startswith(text) else generated
        if unheard_ms > 0:
            drawing.span("dropped", record.at_ms, record.at_ms + unheard_ms, text=rest, kind="unheard")
    else:
        drawing.end("agent", record.at_ms, text=text)


def _interrupted(drawing: _Drawing, data: dict[str, Any]) -> None:
    """Held from the order to be silent until it was decided."""
    onset_ms = _ms(data, "onset_at") * 1000
    if isinstance(data.get("hold_ms"), int | float) and isinstance(data.get("decided_ms"), int | float):
        drawing.span(
            "held",
            round(onset_ms + _ms(data, "hold_ms"), 1),
            round(onset_ms + _ms(data, "decided_ms"), 1),
            text=str(data.get("reason") or ""),
            kind=str(data.get("decision") or ""),
        )


def _ms(data: dict[str, Any], name: str) -> float:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
