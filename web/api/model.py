"""The calls as the API sees them: one reader of the journal for all viewers, in a thread, four times a second.

The journal's file is shared by all workers, so each sees the calls of all. While nobody looks it is read seldom.
Viewers have bounded queues; one that does not keep up is dropped, and says so to itself when it reads again.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import structlog
import trio

from actors.journal_reader import NoJournal, records_of
from engine.errors import BadSettings
from engine.journal import Record
from web.api.index import CallsIndex, Place, Wanted
from web.api.summary import Summary
from web.api.types import CallRow

__all__ = ["Batch", "CallsModel", "Viewer"]

log = structlog.get_logger(__name__)

Given = TypeVarTuple("Given")
Result = TypeVar("Result")

POLL_S = 0.25  # while somebody looks
IDLE_S = 5.0
STORE_S = 5.0
PRUNE_S = 600.0
CATCH_UP_S = 2.0  # so long a question waits for the journal's end
ENDS = "the service ends; connect again in a moment"
MOST_BATCHES = 40  # that wait for one viewer: ten seconds
MOST_VIEWERS = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """What one reading brought.

    `shared` is for whoever makes bytes of it: each form once for all viewers.
    """

    rows: tuple[CallRow, ...]
    records: dict[str, list[Record]]
    live: int
    shared: dict[str, bytes] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Viewer:
    """One stream's queue. `dropped` says why it gets no more."""

    call_id: str | None
    _send: trio.MemorySendChannel[Batch]
    batches: trio.MemoryReceiveChannel[Batch]
    dropped: str = ""

    def offer(self, batch: Batch) -> None:
        if self.dropped:
            return
        try:
            self._send.send_nowait(batch)
        except trio.WouldBlock:
            self.drop("you read more slowly than the calls go on; connect again")

    def drop(self, why: str) -> None:
        self.dropped = self.dropped or why
        self._send.close()


class CallsModel:
    """Start `run` in a nursery; ask as long as it runs.

    Args:
        dead_before_s: as `CallsIndex` has it.
        closing: the service is about to end: viewers are sent away, so that it need not wait for them.
    """

    def __init__(
        self,
        data: Path,
        *,
        dead_before_s: float | None = None,
        closing: Callable[[], bool] = lambda: False,
        poll_s: float = POLL_S,
    ) -> None:
        self.start = secrets.token_hex(8)  # of this process, so that a page sees a restart
        self.journal = data / "journal.sqlite3"
        self._index = CallsIndex(data, dead_before_s=dead_before_s)
        self._limiter = trio.CapacityLimiter(1)  # the index is for one thread at a time
        self._reading = trio.CapacityLimiter(4)
        self._poll_s, self._closing = poll_s, closing
        self._viewers: set[Viewer] = set()
        self._wake, self._read = trio.Event(), trio.Event()
        self._caught_up = False
        self._running = False
        self._live = 0

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the journal until cancelled."""
        self._running = True
        task_status.started()
        next_store = next_prune = -math.inf
        try:
            while True:
                if self._viewers and self._closing():
                    self.drop_viewers(ENDS)
                more = await self._read_some(store=trio.current_time() >= next_store)
                if trio.current_time() >= next_store:
                    next_store = trio.current_time() + STORE_S
                if self._caught_up and trio.current_time() >= next_prune:
                    next_prune = trio.current_time() + PRUNE_S
                    await self._prune()
                if more:
                    await trio.sleep(0.01)  # the rest of a long journal; calls come first
                    continue
                with trio.move_on_after(self._poll_s if self._viewers else IDLE_S):
                    await self._wake.wait()
        finally:
            self._running = False
            self.drop_viewers(ENDS)
            with trio.move_on_after(1.0, shield=True):
                await trio.to_thread.run_sync(self._index.close, limiter=self._limiter)

    async def _prune(self) -> None:
        try:
            await self.ask(self._index.prune)
        except Exception:
            log.exception("api.index_failed")

    async def _read_some(self, *, store: bool) -> bool:
        self._wake, read = trio.Event(), self._read
        try:
            batch, more = await trio.to_thread.run_sync(self._read_in_thread, store, limiter=self._limiter)
        except (BadSettings, OSError) as trouble:
            log.warning("api.journal_unreadable", why=type(trouble).__name__)
            more = False
        except Exception:
            log.exception("api.index_failed")
            self.drop_viewers("the service could not read its journal; connect again in a moment")
            more = False
        else:
            self._live, self._caught_up = batch.live, not more
            if batch.rows or batch.records:
                for viewer in tuple(self._viewers):
                    viewer.offer(batch)
        self._read = trio.Event()
        read.set()
        return more

    def _read_in_thread(self, store: bool) -> tuple[Batch, bool]:
        index, now = self._index, time.time()
        records, visible, more = index.read_on()
        if not more:
            visible |= index.sweep(now)
        if store:
            index.try_store()
        by_call: dict[str, list[Record]] = {}
        wanted = {viewer.call_id for viewer in tuple(self._viewers)}
        for record in records:
            if record.call_id in wanted:
                by_call.setdefault(record.call_id, []).append(record)
        rows = tuple(index.calls[call_id].row(now) for call_id in visible) if wanted else ()
        return Batch(rows, by_call, len(index.live())), more

    # --- asking ----------------------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        return self._live

    @property
    def catching_up(self) -> bool:
        return not self._caught_up

    async def look(self) -> None:
        """Read what is new now, instead of in a moment; not longer than a question should wait."""
        with trio.move_on_after(CATCH_UP_S):
            for _ in range(2):  # the reading that is under way may have begun before what we want to see
                read = self._read
                self._wake.set()
                if not self._running:
                    return
                await read.wait()
            while self.catching_up:
                await self._read.wait()

    async def page(self, wanted: Wanted) -> tuple[list[Summary], Place | None]:
        """One page of calls, newest first."""
        await self.look()
        return await self.ask(self._index.page, wanted)

    async def get(self, call_id: str) -> Summary | None:
        """One call, by its whole id."""
        await self.look()
        return await self.ask(self._index.get, call_id)

    async def summaries(self, wanted: Wanted) -> list[Summary]:
        """All calls of a selection, for sums over them."""
        await self.look()
        return await self.ask(lambda: list(self._index.summaries(wanted)))

    def connection(self) -> sqlite3.Connection:
        """For a question that is put in SQL, in the index's thread (`ask`)."""
        return self._index.connection()

    async def records(self, call_id: str) -> list[Record]:
        """All records of one call; none when there is no such call."""
        try:
            return await trio.to_thread.run_sync(records_of, self.journal, call_id, limiter=self._reading)
        except NoJournal:
            return []

    async def forget(self, call_id: str) -> None:
        await self.ask(self._index.forget, call_id)

    async def ask(self, question: Callable[[*Given], Result], *given: *Given) -> Result:
        """Put a question to the index, in its thread."""
        return await trio.to_thread.run_sync(question, *given, limiter=self._limiter)

    # --- viewers ---------------------------------------------------------------------------------------------------

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @contextmanager
    def watch(self, call_id: str | None = None) -> Iterator[Viewer]:
        """What changes from now on, of all calls, or of one with its records."""
        send, receive = trio.open_memory_channel[Batch](MOST_BATCHES)
        viewer = Viewer(call_id, send, receive)
        self._viewers.add(viewer)
        self._wake.set()
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            viewer.drop("gone")
            receive.close()

    def drop_viewers(self, why: str, only: Collection[Viewer] | None = None) -> None:
        for viewer in tuple(self._viewers if only is None else only):
            viewer.drop(why)
