"""Where tools run: in a nursery of the process, not of their call, because some may not end with it.

A run that may not be cut short is shielded. When the process is to end, what is left of every shield is shortened, so
that no tool can hold a shutdown up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import trio

log = structlog.get_logger(__name__)

HURRY_S = 15.0  # so long a run that may not be cut short still has when the process is to end


class Detached:
    """The runs of a process. Start `run` in a nursery; it ends when cancelled and the last shield is over."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._shields: set[trio.CancelScope] = set()
        self._ends_at: float | None = None
        self._idle = trio.Event()
        self._idle.set()
        self.running = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the runs until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._hurry()

    def start(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> bool:
        """Run this here; False when the process is ending and nothing begins any more."""
        if self._nursery is None or self._ends_at is not None:
            return False
        if not self.running:
            self._idle = trio.Event()
        self.running += 1
        self._nursery.start_soon(self._count, work, arguments)
        return True

    async def wait_idle(self) -> None:
        """Until nothing runs."""
        await self._idle.wait()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """What is done in here is not cut short by a call's end, and by the process's only after a while."""
        with trio.CancelScope(shield=True) as scope:
            if self._ends_at is not None:
                scope.deadline = self._ends_at
            self._shields.add(scope)
            try:
                yield
            finally:
                self._shields.discard(scope)

    async def _count(self, work: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> None:
        try:
            await work(*arguments)
        except Exception:
            log.exception("a tool's run crashed")  # a mistake of ours; the others go on
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    def _hurry(self) -> None:
        self._ends_at = trio.current_time() + HURRY_S
        for scope in self._shields:
            scope.deadline = min(scope.deadline, self._ends_at)
