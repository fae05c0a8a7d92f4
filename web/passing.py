"""Connected sockets from one worker to another: SCM_RIGHTS over a Unix socket of whole messages.

One message is one connection: the file descriptor, and the peer's address as text. A seqpacket socket keeps messages
whole, is bounded by the kernel in bytes (hundreds of messages, where datagrams have ten), and tells when the other
side is gone. Whatever was under way when a worker dies is closed with it, as its own connections are.
"""

from __future__ import annotations

import array
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

__all__ = ["Passing", "receive_sockets"]

log = structlog.get_logger(__name__)

PASS_S = (
    1.0  # Twilio waits a few seconds for a stream's handshake; a sibling that stands still for 1 s is as good as gone
)
BACKLOG = 64
MOST_BYTES = 256
_ONE_FD = socket.CMSG_SPACE(array.array("i").itemsize)

Adopt = Callable[[socket.socket, str], None]


@dataclass
class Statistics:
    """Counts since the start, for `/metrics`."""

    passed: int = 0
    failed: int = 0


class _Way:
    """To one sibling: a connection, made when it is first needed and again when it broke."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = trio.Lock()  # one task a time may wait for room in a socket
        self._sock: trio.socket.SocketType | None = None

    async def send(self, fd: int, peer: str) -> None:
        """Raises `OSError`: the sibling is not there."""
        async with self._lock:
            was_open = self._sock is not None
            try:
                await self._send(fd, peer)
            except OSError:
                self.close()
                if not was_open:
                    raise
                await self._send(fd, peer)  # that was its predecessor's connection

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    async def _send(self, fd: int, peer: str) -> None:
        if self._sock is None:
            sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                await sock.connect(str(self._path))
            except BaseException:
                sock.close()
                raise
            self._sock = sock
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        await self._sock.sendmsg([peer.encode()[:MOST_BYTES]], rights)


class Passing:
    """Gives connections to siblings.

    Args:
        path_of: where a worker receives.
    """

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        self.statistics = Statistics()
        self._path_of = path_of
        self._ways: dict[int, _Way] = {}

    async def send(self, worker: int, fd: int, peer: str) -> bool:
        """Give a copy of the connection `fd` to that worker; whether it went. The caller's own copy stays open."""
        way = self._ways.get(worker)
        if way is None:
            way = self._ways[worker] = _Way(self._path_of(worker))
        with trio.move_on_after(PASS_S):
            try:
                await way.send(fd, peer)
            except OSError as error:
                log.warning("passing.failed", sibling=worker, error=type(error).__name__)
                self.statistics.failed += 1
                return False
            self.statistics.passed += 1
            return True
        self.statistics.failed += 1
        log.warning("passing.failed", sibling=worker, error="no room in time")
        return False

    def close(self) -> None:
        for way in self._ways.values():
            way.close()


async def receive_sockets(
    path: Path, adopt: Adopt, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Take connections from siblings until cancelled; `adopt` gets each, with its peer's address."""
    path.unlink(missing_ok=True)  # a predecessor's
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with listener:
        await listener.bind(str(path))
        listener.listen(BACKLOG)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                try:
                    sibling, _ = await listener.accept()
                except OSError as error:  # out of file descriptors
                    log.error("passing.cannot_accept", error=type(error).__name__)  # noqa: TRY400 — one line will do
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(_receive, sibling, adopt)


async def _receive(sibling: trio.socket.SocketType, adopt: Adopt) -> None:
    with sibling:
        while True:
            try:
                said, rights, _, _ = await sibling.recvmsg(MOST_BYTES, _ONE_FD, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
            fds = _fds(rights)
            if not said and not fds:
                return  # the sibling is gone
            for fd in fds:
                adopt(socket.socket(fileno=fd), said.decode("utf-8", "replace"))
            if not fds:  # the kernel had no room for it in our table, and has closed it
                log.error("passing.lost", error="no file descriptor left")


def _fds(rights: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)
