"""Watches one living call through its journal: every record is checked the moment it is written.

The engine runs beside the actor (`actors.replay.Shadow`): what the actor did with a fact is what the engine says, so
each call of a storm is at the same time a proof that its journal can be replayed.
"""

from __future__ import annotations

from actors.replay import NotReplayable, Shadow, opening_of
from actors.storm.coverage import Coverage
from actors.storm.engine_laws import EngineLaws
from actors.storm.law_broken import LawBroken
from engine import effects as f
from engine import events as e
from engine.call import Call
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.turns import deadline_of


class Watch:
    """One call's. Raises nothing: the first law broken is kept in `broken`."""

    def __init__(self, first: Record, seen: Coverage, *, lateness_s: float, wild: bool) -> None:
        opening = opening_of([first])
        self.opened_at = opening.opened_at
        self.call_id = first.call_id
        self.broken: LawBroken | None = None
        self.closed: Record | None = None
        self.ended_at_ms: float | None = None
        self.reports = 0
        self.interrupted: list[tuple[float, float]] = []  # from a Drop to the next LetSpeak, ms since the admission
        self._dropped_at_ms: float | None = None
        self._shadow = Shadow(opening, first.call_id, told=self._stepped)
        self._laws = EngineLaws(opening.policy, wild=wild, lateness_s=lateness_s)
        self._seen = seen
        self._next_seq = 0

    @property
    def phase(self) -> Phase:
        return self._shadow.call.phase

    @property
    def call(self) -> Call:
        return self._shadow.call

    def skip(self) -> None:
        """A record is lost, and its number with it: the journal could not take it."""
        self._next_seq += 1

    def take(self, record: Record) -> None:
        """One record more."""
        try:
            self._check(record)
        except LawBroken as broken:
            self.broken = self.broken or broken
        except NotReplayable as trouble:
            self.broken = self.broken or self._law("a journal can be replayed", record, str(trouble))

    def _check(self, record: Record) -> None:  # noqa: PLR0912 — one branch a law
        if record.seq != self._next_seq:
            raise self._law("I3 the journal has no gaps", record, f"number {record.seq} instead of {self._next_seq}")
        self._next_seq += 1
        if record.kind is Kind.OPENED:
            if record.seq:
                raise self._law("I3 the journal has no gaps", record, "opened twice")
            return
        if self.closed is not None:
            if record.kind in (Kind.EFFECT, Kind.PHASE):
                raise self._law("I12 the end is the end", record, f"{record.name} after the last record")
            if record.kind is Kind.CLOSED:
                raise self._law("I10 one end with a reason", record, "closed twice")
        if record.name == "ReportArrived":
            self.reports += 1
            if self.reports > 1:
                raise self._law("I5 each event once", record, "the report was consumed twice")
        difference = self._shadow.take(record)
        if difference is not None:
            what = f"journal: {difference.then}; engine: {difference.now}"
            raise self._law("a journal can be replayed", record, what)
        if record.kind is Kind.CLOSED:
            self.closed = record
            if not record.data.get("reason"):
                raise self._law("I10 one end with a reason", record, "closed without a reason")
        elif record.kind is Kind.EFFECT:
            self._note_silence(record)
        elif record.kind is Kind.PHASE and record.name == Phase.ENDED:
            self.ended_at_ms = record.at_ms

    def _note_silence(self, record: Record) -> None:
        if record.name == "Drop" and self._dropped_at_ms is None:
            self._dropped_at_ms = record.at_ms
        elif record.name in ("LetSpeak", "SayLine", "HangUp", "HandOver") and self._dropped_at_ms is not None:
            self.interrupted.append((self._dropped_at_ms, record.at_ms))
            self._dropped_at_ms = None

    def _stepped(self, before: Call, event: e.Event, after: Call, effects: tuple[f.Effect, ...]) -> None:
        self._seen.rules[before.phase, type(event)] += 1
        if after.phase is not before.phase:
            self._seen.ways[before.phase, after.phase] += 1
        self._laws.check(before, event, after, effects, deadline_of(after))

    def _law(self, law: str, record: Record, what: str) -> LawBroken:
        return LawBroken(law, record.at_ms / 1000, what)
