from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from actors.media import MediaPlane


@pytest.fixture(params=[True, False], ids=["in_place", "library"])
def in_place(request: pytest.FixtureRequest) -> bool:
    """Both ways of reading and writing the common frame must behave the same."""
    return bool(request.param)


@pytest.fixture
async def plane() -> AsyncIterator[MediaPlane]:
    """A running plane with short deadlines."""
    made = MediaPlane(handshake_timeout_s=0.5, close_timeout_s=0.3, stall_timeout_s=0.6)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()
