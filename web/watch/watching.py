"""The loop of `callscope watch`: ask the source, draw, take keys. On a terminal, or as plain lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import trio
from rich.console import Console
from rich.live import Live

from engine.journal import Kind, Record
from web.api.types import CallRow
from web.timeline import Timeline
from web.watch.screens import call_screen, list_screen, row_line
from web.watch.sources import Source

__all__ = ["watch_plain", "watch_screen"]

REFRESH_S = 0.25
PLAIN_S = 0.5


class _Screen:
    """What is chosen, and how it is drawn."""

    def __init__(self, source: Source, live: Live, call_id: str) -> None:
        self._source, self._live, self._call_id = source, live, call_id
        self._alone = bool(call_id)  # asked for by name: there is no list to go back to
        self._selected = ""
        self._rows: Sequence[CallRow] = ()
        self._records: Sequence[Record] = ()
        self._anchor: tuple[float, float] | None = None  # the last record's moment: call's clock, ours
        self.quit = trio.Event()

    async def draw(self) -> None:
        source, size = self._source, self._live.console.size
        given = {"source": source.name, "problem": source.problem, "width": size.width, "height": size.height}
        if self._call_id:
            self._records = await source.records(self._call_id)
            self._live.update(call_screen(self._records, now_ms=self._now_ms(), **given), refresh=True)  # type: ignore[arg-type]
            return
        self._rows = await source.rows()
        if self._rows and all(row.id != self._selected for row in self._rows):
            self._selected = self._rows[0].id
        self._live.update(list_screen(self._rows, selected=self._selected, **given), refresh=True)  # type: ignore[arg-type]

    def key(self, key: str) -> None:
        if key == "quit" or (key == "escape" and (self._alone or not self._call_id)):
            self.quit.set()
        elif key == "escape":
            self._call_id, self._anchor = "", None
        elif key == "enter" and not self._call_id:
            self._call_id = self._selected
        elif key in ("up", "down") and not self._call_id and self._rows:
            ids = [row.id for row in self._rows]
            at = ids.index(self._selected) if self._selected in ids else 0
            self._selected = ids[max(0, min(len(ids) - 1, at + (1 if key == "down" else -1)))]

    def _now_ms(self) -> float | None:
        """Between two records a live call's clock goes on as ours does."""
        if not self._records:
            return None
        at_ms, now = self._records[-1].at_ms, trio.current_time()
        if self._anchor is None or self._anchor[0] != at_ms:
            self._anchor = at_ms, now
        return at_ms + (now - self._anchor[1]) * 1000


async def watch_screen(
    source: Source, console: Console, keys: AsyncIterator[str], *, call: str = "", alternate: bool = True
) -> None:
    """Until somebody quits. `call`: as `Source.find` takes it; empty is the list.

    Raises:
        UnknownCall: as `Source.find` does.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        call_id = await source.find(call) if call else ""
        live = Live(console=console, screen=alternate, auto_refresh=False, transient=True, redirect_stderr=False)
        with live:
            screen = _Screen(source, live, call_id)
            pressed = trio.Event()

            async def take_keys() -> None:
                nonlocal pressed
                async for key in keys:
                    screen.key(key)
                    pressed.set()

            nursery.start_soon(take_keys)
            while not screen.quit.is_set():
                await screen.draw()
                with trio.move_on_after(REFRESH_S):
                    await pressed.wait()
                pressed = trio.Event()
        nursery.cancel_scope.cancel()


async def watch_plain(source: Source, console: Console, *, call: str = "") -> None:
    """Lines as things happen, for pipes and logs: of one call until it is over, of all calls until interrupted.

    Raises:
        UnknownCall: as `Source.find` does.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        if call:
            await _plain_call(source, console, await source.find(call))
        else:
            await _plain_list(source, console)
        nursery.cancel_scope.cancel()


async def _plain_call(source: Source, console: Console, call_id: str) -> None:
    timeline, told = Timeline(), -1
    while True:
        for record in await source.records(call_id):
            if record.seq <= told:
                continue
            told = record.seq
            for line in timeline.lines(record):
                console.print(line.plain.rstrip(), soft_wrap=True, highlight=False, markup=False)
            if record.kind is Kind.CLOSED:
                return
        await trio.sleep(PLAIN_S)


async def _plain_list(source: Source, console: Console) -> None:
    seen: dict[str, tuple[object, ...]] = {}
    while True:
        rows = await source.rows()
        for row in reversed(rows):
            state = (row.phase, row.state, row.outcome, row.last_words)
            if seen.get(row.id) != state:
                console.print(row_line(row), soft_wrap=True, highlight=False, markup=False)
        seen = {row.id: (row.phase, row.state, row.outcome, row.last_words) for row in rows}
        await trio.sleep(PLAIN_S)
