"""What happens when: one heap of moments for everything in a world, run by one Trio task. Virtual or real time.

Sockets, frames, delays and plans of a simulated call are callbacks here, so a call costs no task switches of its own.
Under `trio.testing.MockClock(autojump_threshold=0)` the next moment comes as soon as every actor waits.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

import trio
from trio.testing import MockClock

from engine.audio import FRAME_MS

MOST_JUMPS = 2000  # then Trio has its turn: for signals, and so that a timetable that never ends can be cancelled
_SAME_MOMENT_S = 1e-9  # a jump of the mock clock lands within rounding of the deadline


class Timetable:
    """Moments in order; those of one moment in the order in which they were asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._nap: trio.CancelScope | None = None
        self._now: float | None = None  # while moments are acted out in virtual time, which stands still meanwhile

    def now(self) -> float:
        """Trio's time, in seconds."""
        return trio.current_time() if self._now is None else self._now

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do this then (Trio's time); at once, but not before this call returns, when it is past."""
        self._number += 1
        heappush(self._heap, (round(when, 6), self._number, act))
        if self._nap is not None and when < self._nap.deadline:
            self._nap.deadline = when

    def after(self, delay_ms: float, act: Callable[[], None]) -> None:
        self.at(self.now() + delay_ms / 1000, act)

    async def run(self) -> None:
        """Keep the timetable until cancelled."""
        heap, jumps = self._heap, 0
        jump = _jump_of(trio.lowlevel.current_clock())
        while True:
            self._now = now = trio.current_time()
            if jump is None:
                self._now = None
            try:
                while heap and heap[0][0] <= now + _SAME_MOMENT_S:
                    heappop(heap)[2]()
            finally:
                self._now = None
            if jump is not None and heap and jumps < MOST_JUMPS and _nobody_else_before(heap[0][0]):
                jumps += 1
                jump(max(0.0, heap[0][0] - now))
                continue
            jumps = 0
            with trio.CancelScope(deadline=heap[0][0] if heap else inf) as self._nap:
                await trio.sleep_forever()
            self._nap = None


def _jump_of(clock: trio.abc.Clock) -> Callable[[float], None] | None:
    """How to get to the next moment without waiting for it; None in real time."""
    return clock.jump if isinstance(clock, MockClock) and clock.autojump_threshold == 0 else None


def _nobody_else_before(when: float) -> bool:
    """Whether every other task sleeps, and beyond that moment: then Trio would do nothing but jump there.

    It would take half of a simulated call's time to find that out. A task that waits has an abort function; one that is
    about to run has none. There is no public way to ask.
    """
    runner: Any = trio._core._run.GLOBAL_RUN_CONTEXT.runner
    if runner.deadlines.next_deadline() <= when + _SAME_MOMENT_S:
        return False
    me = trio.lowlevel.current_task()
    return all(task._abort_func is not None or task is me for task in runner.tasks)


class Ticks:
    """The media plane's beat (`actors.ports.Plane.every_tick`) on a timetable; silent while nobody listens."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable
        self._callbacks: dict[int, tuple[int, Callable[[float], None]]] = {}
        self._number = self._count = 0
        self._beating = False

    def every_tick(self, callback: Callable[[float], None], *, ticks: int = 1) -> Callable[[], None]:
        self._number += 1
        number = self._number
        self._callbacks[number] = (ticks, callback)
        if not self._beating:
            self._beating = True
            self._timetable.after(FRAME_MS, self._beat)

        def untick() -> None:
            self._callbacks.pop(number, None)

        return untick

    def __len__(self) -> int:
        return len(self._callbacks)

    def _beat(self) -> None:
        self._count += 1
        now = self._timetable.now()
        for ticks, callback in list(self._callbacks.values()):
            if self._count % ticks == 0:
                callback(now)
        self._beating = bool(self._callbacks)
        if self._beating:
            self._timetable.after(FRAME_MS, self._beat)
