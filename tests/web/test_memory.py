"""The service gives back what it does not use."""

from __future__ import annotations

import gc
import sys

import pytest
import trio

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


async def test_trims_again_and_again_and_stops_at_once() -> None:
    """The third time of trimming ends it; the last trim is that of the end."""
    over, trimmed = trio.Event(), []

    def trim(pad: int) -> int:
        trimmed.append(pad)
        if len(trimmed) == 3:
            trio.from_thread.run_sync(over.set)
        return 0

    with trio.fail_after(10):
        await trim_until(over, trim, every_s=0.001)
    assert trimmed == [0, 0, 0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_this_machine_can_trim() -> None:
    trim = steady_allocator()
    assert trim is None or trim(0) in (0, 1)
