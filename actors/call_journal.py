"""The journal of one call: numbers its records, and puts the call's own clock on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
import trio

from actors.ports import Journal
from engine import effects as f
from engine import events as e
from engine.journal import Kind, Record

log = structlog.get_logger(__name__)

Noted = Callable[[str, Mapping[str, Any]], None]


class CallJournal:
    """Writes the records of one call. Outlives the call: what comes late is written with the next number.

    Args:
        opened_at: on Trio's clock; `at_ms` of every record counts from here.
        noted: is shown every note, for meters; never raises.
        seq: the number of the next record; for a journal that is gone on with after a restart.
    """

    __slots__ = ("_journal", "_noted", "_opened_at", "_seq", "_wall_offset_s", "call_id")

    def __init__(
        self, journal: Journal, call_id: str, *, opened_at: float, noted: Noted | None = None, seq: int = 0
    ) -> None:
        self.call_id = call_id
        self._journal, self._opened_at, self._noted = journal, opened_at, noted
        self._seq = seq
        self._wall_offset_s = time.time() - trio.current_time()

    def keep(self, kind: Kind, name: str, at: float, data: Mapping[str, Any]) -> None:
        self._journal.append(self.record(kind, name, at, data))

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep something that no rule acts on."""
        if self._noted is not None:
            self._noted(name, data)
        self.keep(Kind.NOTE, name, trio.current_time(), dict(data))

    async def commit(self, name: str, at: float, data: Mapping[str, Any]) -> None:
        """Keep a note and return once it is durable.

        Raises:
            JournalUnavailable: it could not be kept.
        """
        await self._journal.commit(self.record(Kind.NOTE, name, at, data))

    def try_note(self, name: str, data: Mapping[str, Any]) -> None:
        """A note from where nothing may fail any more."""
        self._try(lambda: self.note(name, data), name)

    def fact(self, fact: e.Event) -> None:
        record = self.record(Kind.EVENT, type(fact).__name__, fact.at, fields_of(fact), exact_s=fact.at)
        self._journal.append(record)

    def late(self, fact: e.Event) -> None:
        """A fact after the end: it is kept, and revives nothing. Never raises: whoever told it lives on."""
        self._try(lambda: self.fact(fact), type(fact).__name__)

    def record(
        self, kind: Kind, name: str, at: float, data: Mapping[str, Any], *, exact_s: float | None = None
    ) -> Record:
        record = Record(
            call_id=self.call_id,
            seq=self._seq,
            at_ms=round((at - self._opened_at) * 1000, 1),
            wall_s=round(at + self._wall_offset_s, 3),
            kind=kind,
            name=name,
            data=dict(data),
            exact_s=exact_s,
        )
        self._seq += 1
        return record

    def _try(self, write: Callable[[], None], name: str) -> None:
        try:
            write()
        except Exception:
            log.exception("record lost", call=self.call_id, record=name)


def fields_of(thing: e.Event | f.Effect) -> dict[str, Any]:
    """An event or effect as JSON-able data, without its time, which the record has."""
    data: dict[str, Any] = msgspec.to_builtins(thing)
    data.pop("at", None)
    return data
