"""Keeps a scenario's tools in virtual time: what would wait for the real world is refused, in words that help.

A clock that jumps takes a tool that waits for a thread or a socket for an idle one and jumps over it, so the answer
would come minutes late, or not at all. Python's own audit events tell of threads, sockets and processes.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import trio

from engine.errors import BadSettings

_REFUSED = {
    "_thread.start_new_thread": "starts a thread",
    "socket.connect": "opens a connection",
    "socket.sendto": "sends on a socket",
    "socket.bind": "opens a socket",
    "socket.getaddrinfo": "looks up a name in the network",
    "socket.gethostbyname": "looks up a name in the network",
    "subprocess.Popen": "starts a process",
    "os.posix_spawn": "starts a process",
    "time.sleep": "calls time.sleep, which stops every call (use trio.sleep)",
}
Refused = Callable[[str], None]
_GUARD: ContextVar[Refused | None] = ContextVar("scenario_guard", default=None)
_HOOKED: list[bool] = []


class NotInVirtualTime(BadSettings):
    """A tool went to the real world, where a scenario has no time for it."""


async def guarded(function: Callable[..., Awaitable[Any]], refused: Refused, *given: Any, **named: Any) -> Any:
    """Run a tool's function; it may sleep on Trio's clock and compute, and nothing else.

    Args:
        refused: is told what it did that it must not; it cannot keep that from us by catching the exception.
    """
    token = _GUARD.set(refused)
    try:
        return await function(*given, **named)
    finally:
        _GUARD.reset(token)


@contextmanager
def only_virtual_time() -> Iterator[None]:
    """Watch over guarded functions while the block lasts."""
    if not _HOOKED:  # an audit hook stays for the life of the process; without a guard it costs one look
        sys.addaudithook(_audit)
        _HOOKED.append(True)
    in_thread = trio.to_thread.run_sync

    async def run_sync(*given: Any, **named: Any) -> Any:
        """A worker thread that idles would start no new one, so that the audit hook would not see it."""
        _refuse("waits for a thread")
        return await in_thread(*given, **named)

    trio.to_thread.run_sync = run_sync
    try:
        yield
    finally:
        trio.to_thread.run_sync = in_thread


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event in _REFUSED:
        _refuse(_REFUSED[event])


def _refuse(what: str) -> None:
    refused = _GUARD.get()
    if refused is not None:
        refused(what)
        raise NotInVirtualTime(f"it {what}")
