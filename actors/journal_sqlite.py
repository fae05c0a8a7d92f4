"""The journal on disk: SQLite in WAL mode, one task that writes, one connection, groups of records in one commit.

`append` puts a record into a bounded queue and returns. The task takes what waits, writes it in a worker thread in
one transaction with one fsync, and tells whoever waits. A write that fails (disk full, locked, read-only) stays in the
queue and is tried again; calls go on meanwhile, and only when the queue is full are records lost, newest first, counted
(reference/reliability.md F22). What was written is never rewritten (I3): a record with a number that is taken is
refused unless it is the same record.

Reading, also from other processes while this one writes, is `actors.journal_reader`.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog
import trio

from actors.journal_file import Entry, JournalFile, is_busy
from actors.journal_reader import NoJournal, list_calls, read_call, records_of, tail
from actors.ports import JournalStatistics
from engine.errors import JournalUnavailable
from engine.journal import Record, decode

__all__ = ["SqliteJournal", "list_calls", "read_call", "tail"]

log = structlog.get_logger(__name__)

MOST_RECORDS = 20_000  # waiting for the disk; more are lost, newest first, and counted
MOST_BYTES = 32 * 1024 * 1024
MOST_RECORDS_A_COMMIT = 2_000
LINGER_S = 0.02  # records that nobody waits for are gathered so long
FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 2.0
CLOSE_S = 5.0

JOURNAL_LIMITER_THREADS = 1  # one connection: a second thread would only wait for the first


@dataclass(eq=False, slots=True)
class _Waiter:
    """Somebody waits until a record is durable."""

    told: trio.Event = field(default_factory=trio.Event)
    trouble: str | None = None  # None once told: it is durable


@dataclass(eq=False, slots=True)
class _Waiting:
    """An entry in the queue."""

    entry: Entry
    waiter: _Waiter | None = None


class SqliteJournal:
    """Fulfils `actors.ports.Journal`. Start `run` in a nursery that outlives the calls, or use `SqliteJournal.open`.

    Args:
        most_records: bound of the queue.
        patience_s: the longest that `commit` and `flush` wait.
    """

    def __init__(self, path: Path, *, most_records: int = MOST_RECORDS, patience_s: float = 2.0) -> None:
        self.path = path
        self.refused = 0  # records whose number a different one had; counted in `lost` too
        self.trouble: str | None = None  # why writing fails at present
        self._most_records, self._patience_s = most_records, patience_s
        self._file: JournalFile | None = None
        self._running = False
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._filled, self._hurry = trio.Event(), trio.Event()
        self._appended = self._durable = self._lost = 0
        self._limiter = trio.CapacityLimiter(JOURNAL_LIMITER_THREADS)
        self._read_limiter = trio.CapacityLimiter(2)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, most_records: int = MOST_RECORDS, patience_s: float = 2.0
    ) -> AsyncIterator[SqliteJournal]:
        """A journal that is written as long as the block lasts; leaving it flushes.

        Raises:
            BadSettings: the file cannot be made or opened, is no journal, or is a newer Callscope's.
        """
        journal = cls(path, most_records=most_records, patience_s=patience_s)
        await journal._connect()
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            yield journal
            nursery.cancel_scope.cancel()

    # --- the port --------------------------------------------------------------------------------------------------

    def append(self, record: Record) -> None:
        self._enqueue(record)

    async def commit(self, record: Record) -> None:
        """As the port says. When this raises, or is cancelled, the record is still tried again with the others.

        It then stands in the journal as an intent that nobody acted on: the safe side for who reads it later.
        """
        waiting = self._enqueue(record)
        if isinstance(waiting, str):
            await trio.lowlevel.checkpoint()
            raise JournalUnavailable(waiting)
        await self._wait_durable(waiting)

    async def flush(self) -> None:
        """As the port says.

        Raises:
            JournalUnavailable: the disk does not take what waits.
        """
        if not self._queue:
            await trio.lowlevel.checkpoint()
            return
        await self._wait_durable(self._queue[-1], refusal_matters=False)

    async def read(self, call_id: str) -> Sequence[Record]:
        """As the port says: what is on the disk, and what still waits to be."""
        waiting = [decode(one.entry.line) for one in self._queue if one.entry.call_id == call_id]
        try:
            kept = await trio.to_thread.run_sync(records_of, self.path, call_id, limiter=self._read_limiter)
        except NoJournal:
            kept = []
        by_seq: dict[int, Record] = {}
        for record in (*kept, *waiting):
            by_seq.setdefault(record.seq, record)
        return [by_seq[seq] for seq in sorted(by_seq)]

    def statistics(self) -> JournalStatistics:
        """Always: appended = durable + lost + waiting."""
        return JournalStatistics(self._appended, self._durable, self._lost, len(self._queue))

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[SqliteJournal] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; then write what is left, within a deadline, and close the file.

        Raises:
            BadSettings: the file cannot be made or opened, is no journal, or is a newer Callscope's.
        """
        await self._connect()
        self._running = True
        try:
            task_status.started(self)
            await self._write_on()
        finally:
            self._running = False
            with trio.move_on_after(CLOSE_S, shield=True):
                await self._write_out()
            self._lose_the_rest()
            file, self._file = self._file, None
            if file is not None:
                with trio.move_on_after(CLOSE_S, shield=True):
                    await trio.to_thread.run_sync(file.close, limiter=self._limiter)

    async def _connect(self) -> None:
        if self._file is None:
            self._file = await trio.to_thread.run_sync(JournalFile, self.path, limiter=self._limiter)

    # --- the queue -------------------------------------------------------------------------------------------------

    def _enqueue(self, record: Record) -> _Waiting | str:
        """The record's place in the queue, or why it has none."""
        self._appended += 1
        try:
            entry = Entry.of(record)
        except JournalUnavailable as unfit:
            return self._lose(str(unfit))
        if not self._running:
            return self._lose("the journal is closed")
        if len(self._queue) >= self._most_records or self._queued_bytes + len(entry.line) > MOST_BYTES:
            return self._lose(f"{len(self._queue)} records wait already ({self.trouble or 'the disk is slow'})")
        waiting = _Waiting(entry)
        self._queue.append(waiting)
        self._queued_bytes += len(entry.line)
        self._filled.set()
        return waiting

    def _lose(self, why: str) -> str:
        self._lost += 1
        if self._lost & (self._lost - 1) == 0:  # the 1st, 2nd, 4th, 8th…: a full disk must not fill the log too
            log.error("journal lost a record", why=why, lost=self._lost)
        return why

    async def _wait_durable(self, waiting: _Waiting, *, refusal_matters: bool = True) -> None:
        waiter = waiting.waiter = waiting.waiter or _Waiter()
        self._hurry.set()
        with trio.move_on_after(self._patience_s):
            await waiter.told.wait()
        if not waiter.told.is_set():
            raise JournalUnavailable(
                f"not written within {self._patience_s:g} s ({self.trouble or 'the disk is slow'})"
            )
        if waiter.trouble is not None and (refusal_matters or waiter.trouble is not _REFUSED):
            raise JournalUnavailable(waiter.trouble)

    # --- the writer ------------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            if not self._queue:
                self._filled = trio.Event()
                await self._filled.wait()
            with trio.move_on_after(LINGER_S if self.trouble is None else retry_s):
                await self._hurry.wait()
            self._hurry = trio.Event()
            if await self._write_some():
                retry_s = FIRST_RETRY_S
                if len(self._queue) >= MOST_RECORDS_A_COMMIT:
                    self._hurry.set()
            else:
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _write_out(self) -> None:
        while self._queue:
            if not await self._write_some():
                await trio.sleep(FIRST_RETRY_S)

    async def _write_some(self) -> bool:
        """One transaction with what waits. On trouble all of it stays in the queue."""
        batch = list(islice(self._queue, MOST_RECORDS_A_COMMIT))
        file = self._file
        if not batch or file is None:
            return True
        entries = [waiting.entry for waiting in batch]
        try:
            refused = await trio.to_thread.run_sync(file.write, entries, limiter=self._limiter)
        except Exception as error:
            self._note_trouble(error)
            return False
        if self.trouble is not None:
            self.trouble = None
            log.info("journal writes again", waiting=len(self._queue))
        for index, waiting in enumerate(batch):
            self._settle(waiting, refused=index in refused)
        return True

    def _settle(self, waiting: _Waiting, *, refused: bool) -> None:
        self._queue.popleft()
        self._queued_bytes -= len(waiting.entry.line)
        if refused:
            self.refused += 1
            self._lost += 1
            log.error("journal refused a record", call=waiting.entry.call_id, seq=waiting.entry.seq)
        else:
            self._durable += 1
        if waiting.waiter is not None:
            waiting.waiter.trouble = _REFUSED if refused else None
            waiting.waiter.told.set()

    def _note_trouble(self, error: Exception) -> None:
        """Tell who waits at once; but a lock held by another process is waited out, as long as patience lasts."""
        trouble = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
        if self.trouble is None:
            log.error("journal cannot write", why=trouble, waiting=len(self._queue))
        if not isinstance(error, sqlite3.Error):
            log.error("journal failed in an unknown way", exc_info=error)
        self.trouble = trouble
        if is_busy(error):
            return
        for waiting in self._queue:
            self._tell_trouble(waiting, trouble)

    def _tell_trouble(self, waiting: _Waiting, trouble: str) -> None:
        if waiting.waiter is not None:
            waiter, waiting.waiter = waiting.waiter, None
            waiter.trouble = trouble
            waiter.told.set()

    def _lose_the_rest(self) -> None:
        """The disk did not take it in time: say so to who waits, and count."""
        if self._queue:
            log.error("journal closed with records unwritten", lost=len(self._queue), why=self.trouble)
        while self._queue:
            waiting = self._queue.popleft()
            self._lost += 1
            self._tell_trouble(waiting, self.trouble or "the journal is closed")
        self._queued_bytes = 0


_REFUSED = "another record has this number"
