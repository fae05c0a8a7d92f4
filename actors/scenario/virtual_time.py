"""Keeps a scenario's tools in virtual time: what would wait for the real world is refused, in words that help.

A clock that jumps takes a tool that waits for a thread or a socket for an idle one and jumps over it, so the answer
would come minutes late, or not at all. Python's own audit events tell of threads, sockets and processes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
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
    in_thread, sleep, start = trio.to_thread.run_sync, time.sleep, threading.Thread.start

    async def run_sync(*given: Any, **named: Any) -> Any:
        """A worker thread that idles would start no new one, so that the audit hook would not see it."""
        _refuse("waits for a thread")
        return await in_thread(*given, **named)

    # Audit events tell of these two only from newer CPythons on.
    def sleep_here(seconds: float, /) -> None:
        _refuse("calls time.sleep, which stops every call (use trio.sleep)")
        sleep(seconds)

    def start_here(thread: threading.Thread) -> None:
        _refuse(_REFUSED["_thread.start_new_thread"])
        start(thread)

    with ExitStack() as undone:
        for where, name, watched in (
            (trio.to_thread, "run_sync", run_sync),
            (time, "sleep", sleep_here),
            (threading.Thread, "start", start_here),
        ):
            undone.callback(setattr, where, name, getattr(where, name))
            setattr(where, name, watched)
        yield


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event in _REFUSED:
        _refuse(_REFUSED[event])


def _refuse(what: str) -> None:
    refused = _GUARD.get()
    if refused is not None:
        refused(what)
        raise NotInVirtualTime(f"it {what}")
