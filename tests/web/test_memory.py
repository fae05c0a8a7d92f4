"""The service gives back what it does not use."""

from __future__ import annotations

import gc
import sys

import pytest
import trio
from trio.testing import MockClock

from web.memory import GC_THRESHOLDS, calm_collector, steady_allocator, trim_until


def test_the_collector_looks_seldom_and_not_at_what_was_loaded() -> None:
    before = gc.get_threshold()
    try:
        calm_collector()
        assert gc.get_threshold() == GC_THRESHOLDS
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


async def test_trims_now_and_then_and_stops_at_once(autojump_clock: MockClock) -> None:
    """Once in a while, and a last time at the end."""
    over, trimmed = trio.Event(), []

    def trim(pad: int) -> int:
        trimmed.append(pad)
        return 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trim_until, over, trim)
        await trio.sleep(95)
        over.set()
    assert 2 <= len(trimmed) <= 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_this_machine_can_trim() -> None:
    trim = steady_allocator()
    assert trim is None or trim(0) in (0, 1)
