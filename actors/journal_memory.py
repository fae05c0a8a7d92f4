"""The journal in memory: for tests, and the oracle that the stores on disk are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from actors.journal_file import Entry
from actors.ports import JournalStatistics
from engine.errors import JournalUnavailable
from engine.journal import Record, decode


class MemoryJournal:
    """Fulfils `actors.ports.Journal`. Nothing outlives the process.

    Args:
        most_records: what comes after so many is lost, as on a full disk.
    """

    def __init__(self, *, most_records: int = 1_000_000) -> None:
        self._most_records = most_records
        self._lines: dict[str, dict[int, bytes]] = {}
        self._kept = self._appended = self._durable = self._lost = 0
        self.refused = 0  # another record had its number already; counted in `lost` too
        self.unavailable = False  # a test may set it: nothing can be kept meanwhile

    @property
    def call_ids(self) -> tuple[str, ...]:
        """Of all calls, in the order of their first records."""
        return tuple(self._lines)

    def append(self, record: Record) -> None:
        self._keep(record)

    async def commit(self, record: Record) -> None:
        trouble = self._keep(record)
        await trio.lowlevel.checkpoint()
        if trouble is not None:
            raise JournalUnavailable(trouble)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def read(self, call_id: str) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        return [decode(line) for _, line in sorted(self._lines.get(call_id, {}).items())]

    def statistics(self) -> JournalStatistics:
        return JournalStatistics(self._appended, self._durable, self._lost, waiting=0)

    def _keep(self, record: Record) -> str | None:
        """Why the record was not kept, None when it was."""
        self._appended += 1
        trouble = self._try(record)
        if trouble is None:
            self._durable += 1
        else:
            self._lost += 1
        return trouble

    def _try(self, record: Record) -> str | None:
        try:
            entry = Entry.of(record)
        except JournalUnavailable as unfit:
            return str(unfit)
        kept = self._lines.get(entry.call_id, {}).get(entry.seq)
        if kept is not None:
            self.refused += kept != entry.line
            return None if kept == entry.line else "another record has this number"
        if self.unavailable or self._kept >= self._most_records:
            return "the journal takes no more"
        self._lines.setdefault(entry.call_id, {})[entry.seq] = entry.line
        self._kept += 1
        return None
