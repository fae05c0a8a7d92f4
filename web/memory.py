"""Keeps a long-running process from growing: the collector kept calm, the C allocator told to give back what is free.

Calls come and go, and with them blocks of all sizes. glibc keeps what was freed, in as many arenas as threads have
raced for, and moves its own limits with what it sees, so that a service grows for hours though it holds nothing more:
a soak showed the interpreter's and the allocator's *used* bytes constant, and the resident ones rising (decision 0006).
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable

import trio

# New objects before a look at the young; every 10th look goes further, every 100th to all. So seldom that steady speech
# sees none, so often that the HTTP libraries' cycles (8 kB a call) do not pile up: a soak found that they did.
GC_THRESHOLDS = (5_000, 10, 10)
TRIM_EVERY_S = 30.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_FIXED_BYTES = 128 * 1024  # glibc's own first value; said aloud, it stays


def calm_collector() -> None:
    """Take all that was loaded so far out of the garbage collector's sight, and have it look seldom.

    A full collection walks every object that lives: 40 ms for our imports alone, during which nobody hears anything.
    Frozen, they are never walked again. Measured in decision 0006.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def steady_allocator() -> Callable[[int], int] | None:
    """Have glibc keep one heap with fixed limits. Returns its `malloc_trim`; None where the C library is another."""
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):
        return None
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _FIXED_BYTES), (_M_TRIM_THRESHOLD, _FIXED_BYTES)):
        mallopt(option, value)
    found: Callable[[int], int] = trim
    return found


async def trim_until(over: trio.Event, trim: Callable[[int], int], *, every_s: float = TRIM_EVERY_S) -> None:
    """Give free memory back now and then, in a thread: a few milliseconds without the interpreter's lock."""
    while not over.is_set():
        with trio.move_on_after(every_s):
            await over.wait()
        await trio.to_thread.run_sync(trim, 0)
