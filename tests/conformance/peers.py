"""Our media plane as Autobahn wants it: an echo, called by its client and calling its server, over real sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import trio

from actors.media import MediaPlane
from actors.ports import Upgrade, Wire, WireListener
from tests.conformance.fuzzer import Order

__all__ = ["ALL_CASES", "NO_COMPRESSION", "Role", "Verdict", "run_cases"]

ALL_CASES = ("*",)
NO_COMPRESSION = ("12.*", "13.*")
"""permessage-deflate, which we do not offer and do not accept: 216 of Autobahn's 517 cases."""

LARGEST_BYTES = 16 * 1024 * 1024
"""Cases 9.*: the longest message, and how many pieces of it there may be."""
LARGEST_FRAGMENTS = 4 * 1024 * 1024 // 64

AT_ONCE = 8
"""Most cases only wait for a second; those of 9.* that count time are allowed many."""
RUN_PATIENCE_S, CASE_PATIENCE_S = 300.0, 120.0

Role = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Autobahn says of one case."""

    case: str
    behavior: str
    behavior_close: str
    duration_ms: int
    close_code: int | None
    description: str
    expectation: str
    result: str
    received: str

    @property
    def passed(self) -> bool:
        """As Autobahn counts it: of both what was said and how it was closed."""
        good = ("OK", "NON-STRICT", "INFORMATIONAL")
        return self.behavior in good and self.behavior_close in good


class _Echo:
    """Sends everything back as it came, keeps the last text, and knows when it is over."""

    def __init__(self) -> None:
        self.last_text, self.over = b"", trio.Event()
        self._wire: Wire | None = None

    def on_open(self, wire: Wire) -> None:
        self._wire = wire

    def on_text(self, payload: bytes) -> None:
        assert self._wire is not None
        self.last_text = payload
        self._wire.send_text(payload)

    def on_binary(self, payload: bytes) -> None:
        assert self._wire is not None
        self._wire.send_binary(payload)

    def on_closed(self, code: int, reason: str) -> None:
        self.over.set()


@asynccontextmanager
async def _plane(*, in_place: bool, max_fragments: int) -> AsyncIterator[MediaPlane]:
    """Limits as wide as the cases are; all else as in production."""
    plane = MediaPlane(
        max_message_bytes=LARGEST_BYTES,
        max_dialled_message_bytes=LARGEST_BYTES,
        max_queue_bytes=2 * LARGEST_BYTES,
        max_fragments=max_fragments,
        in_place=in_place,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        yield plane
        nursery.cancel_scope.cancel()


async def run_cases(
    role: Role,
    *,
    in_place: bool = True,
    cases: Sequence[str] = ALL_CASES,
    without: Sequence[str] = NO_COMPRESSION,
    max_fragments: int = LARGEST_FRAGMENTS,
) -> list[Verdict]:
    """Run Autobahn's cases against us in this role. `cases`, `without`: numbers or `*` globs.

    Raises:
        trio.TooSlowError: the run did not end.
        subprocess.CalledProcessError: the fuzzer broke; its words are on stderr.
    """
    with tempfile.TemporaryDirectory() as folder, trio.fail_after(RUN_PATIENCE_S):
        path = Path(folder, "verdicts.json")
        order = Order(url="", cases=[*cases], without=[*without], concurrency=AT_ONCE, verdicts=str(path))
        async with _plane(in_place=in_place, max_fragments=max_fragments) as plane:
            await (_serve(plane, order) if role == "server" else _call(plane, order))
        return [Verdict(**facts) for facts in json.loads(path.read_text())]


def _command(order: Order) -> list[str]:
    return [sys.executable, "-m", "tests.conformance.fuzzer", json.dumps(order)]


# ---- we are the server


async def _serve(plane: MediaPlane, order: Order) -> None:
    def let_in(_: Upgrade) -> WireListener:
        return _Echo()

    async def adopt(stream: trio.SocketStream) -> None:
        plane.adopt(socket.socket(fileno=stream.socket.detach()), let_in, peer="fuzzer")

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, adopt, 0, host="127.0.0.1"))
        order["url"] = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        await trio.run_process(_command(order))
        nursery.cancel_scope.cancel()


# ---- we are the client


async def _call(plane: MediaPlane, order: Order) -> None:
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(partial(trio.run_process, _command(order), stdout=subprocess.PIPE))
        assert process.stdout is not None
        line = await process.stdout.receive_some()
        base = f"ws://127.0.0.1:{int(line.split()[1])}"
        count = int((await _dial(plane, f"{base}/getCaseCount")).last_text)
        places = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as running:
            for number in range(1, count + 1):
                await places.acquire_on_behalf_of(number)
                running.start_soon(_run_case, plane, f"{base}/runCase?case={number}&agent=callscope", places, number)
        await _dial(plane, f"{base}/updateReports?agent=callscope")


async def _run_case(plane: MediaPlane, url: str, places: trio.CapacityLimiter, borrower: Any) -> None:
    try:
        await _dial(plane, url)
    finally:
        places.release_on_behalf_of(borrower)


async def _dial(plane: MediaPlane, url: str) -> _Echo:
    """One wire from its opening to its end."""
    echo = _Echo()
    with trio.fail_after(CASE_PATIENCE_S):
        await plane.dial(url, echo, timeout_s=10)
        await echo.over.wait()
    return echo
