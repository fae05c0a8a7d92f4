"""One listening port for everything: a new connection is peeked at, then goes to the media plane or to Hypercorn.

Nothing is read before the choice, so whoever gets the connection finds it untouched. A connection that does not show
itself is dropped at a deadline; only so many may wait for that, and then the one that has waited longest makes room.
Hypercorn's own traps, and what is done about them here, are in stack.md A.3 (2, 7, 11) and A.4.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import wrap_app

from actors.media import MediaPlane
from actors.media.failures import log_failure
from actors.ports import Doorkeeper
from web.fast_http import FastHttp

__all__ = ["listen", "serve"]

log = structlog.get_logger(__name__)

PEEK_BYTES, ENOUGH_BYTES = 512, 64
SHOW_YOURSELF_S = 10.0
MAX_UNSHOWN = 200
BACKLOG = 512
USER_TIMEOUT_MS = 10_000
PAUSE_WITHOUT_FDS_S = 0.1
SEND_S = 30.0
LAST_WORDS_S = 0.2
"""After the grace is over: how long cancelled handlers have before their sockets are closed under them."""

_NO_FDS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


async def listen(host: str, port: int, *, fd: int | None = None) -> list[trio.SocketListener]:
    """Open `host:port` (0: any free port), or take over the listening socket `fd` that a parent process left us.

    Raises:
        OSError: the address is taken, or `fd` is no stream socket.
    """
    if fd is not None:
        sock = socket.socket(fileno=fd)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(BACKLOG)
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock))]
    else:
        listeners = list(await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG))  # sets SO_REUSEADDR
    for listener in listeners:
        _keep_honest(listener.socket)
    return listeners


def _keep_honest(sock: trio.socket.SocketType) -> None:
    """Options that accepted sockets inherit: a peer that vanished or stopped reading is noticed by the kernel.

    A Unix socket has none of this, and needs none.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    amounts = {"TCP_USER_TIMEOUT": USER_TIMEOUT_MS, "TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    for name, amount in amounts.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, amount)


async def serve(
    app: Asgi,
    listeners: Sequence[trio.SocketListener],
    *,
    plane: MediaPlane,
    doorkeeper: Doorkeeper,
    is_media: Callable[[bytes], bool],
    shutdown_trigger: Callable[[], Awaitable[None]],
    graceful_s: float = 3.0,
    hypercorn_config: Config | None = None,
    fast: FastHttp | None = None,
    pass_on: PassOn | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` (ASGI) and the media plane on the same listeners until `shutdown_trigger` returns.

    Ready (`task_status`) when the app's start-up is done. At the end: no new connections, HTTP requests get
    `graceful_s` to finish, the app's shutdown runs. The plane is not ours: it and its wires live on. `is_media` sees
    the first bytes of a connection: up to the end of the request line, or 64 bytes of it at least. `fast` serves what
    it says is its own, without the app. `pass_on` may give a media connection to another process. Cancelled from
    outside, everything is closed at once and the app's shutdown does not run. The listeners are closed in any case.

    Raises:
        ExceptionGroup: of Hypercorn's `LifespanFailureError`, when the app says that it cannot start or end.
    """
    config = hypercorn_config or Config()
    state: LifespanState = {}
    wrapped = wrap_app(_answering_to_the_end(app), config.wsgi_max_body_size, None)
    lifespan, lifespan_over = Lifespan(wrapped, config, state), trio.Event()
    door = _Door(partial(_http_connection, wrapped, config, state), plane, doorkeeper, is_media, fast, pass_on)
    try:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(_live, lifespan, lifespan_over)
            await lifespan.wait_for_startup()
            if lifespan.shutdown.is_set():  # over already: it failed, which cancels us here, or the app has none
                await lifespan_over.wait()
                await trio.lowlevel.checkpoint()
            await door.run(listeners, shutdown_trigger, graceful_s, task_status)
            if not lifespan.shutdown.is_set():
                await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()
    finally:
        _close(listeners)


def _close(listeners: Sequence[trio.SocketListener]) -> None:
    for listener in listeners:
        listener.socket.close()


async def _live(lifespan: Lifespan, over: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    try:
        await lifespan.handle_lifespan(task_status=task_status)
    finally:
        over.set()


Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def _answering_to_the_end(app: Asgi) -> Asgi:
    """Let the last `send` of a response finish, though Quart-Trio cancels it.

    Hypercorn tidies up inside that call: it closes the connection, or starts its keep-alive timer. It tells the app
    `http.disconnect` before that, at which Quart-Trio cancels its request, this very call with it: then a connection
    would never be closed after `Connection: close`, nor ever time out, nor notice a shutdown (reproduced: hypercorn
    0.18.0 with quart-trio 0.12.0). Its writes are shielded anyway; the deadline is for the rest.
    """

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        async def send_to_the_end(message: Any) -> None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_S):
                await send(message)

        await app(scope, receive, send_to_the_end if scope["type"] == "http" else send)

    return asgi


async def _http_connection(
    app: Any, config: Config, state: LifespanState, context: WorkerContext, stream: trio.SocketStream
) -> None:
    server = TCPServer(app, config, context, ConnectionState(state.copy()), cast(Any, stream))
    try:
        await server
    finally:
        vars(server).clear()  # it and its protocol hold each other: a soak found a thousand waiting for the collector


HttpHandler = Callable[[WorkerContext, trio.SocketStream], Awaitable[None]]
PassOn = Callable[[bytes, int, str], Awaitable[bool]]
"""Gives a copy of a media connection away: its first bytes, its file descriptor, its peer → whether it went."""


class _Door:
    """The accept loops, and all connections that are not (or not yet) the plane's."""

    def __init__(
        self,
        http: HttpHandler,
        plane: MediaPlane,
        doorkeeper: Doorkeeper,
        is_media: Callable[[bytes], bool],
        fast: FastHttp | None,
        pass_on: PassOn | None,
    ) -> None:
        self._http, self._plane, self._doorkeeper, self._is_media = http, plane, doorkeeper, is_media
        self._fast, self._pass_on = fast, pass_on
        self._context = WorkerContext(None)
        self._unshown: dict[trio.SocketStream, trio.CancelScope] = {}
        self._streams: set[trio.SocketStream] = set()
        self._is_closing, self._all_gone = False, trio.Event()
        self._next_complaint = 0.0

    async def run(
        self,
        listeners: Sequence[trio.SocketListener],
        shutdown_trigger: Callable[[], Awaitable[None]],
        graceful_s: float,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as connections:
            if self._fast is not None:
                connections.start_soon(self._fast.run)
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, connections)
                    task_status.started()
                    await shutdown_trigger()
                    accepting.cancel_scope.cancel()
                _close(listeners)
                await self._see_off(graceful_s)
            finally:
                connections.cancel_scope.cancel()
                await self._cut()

    async def _see_off(self, graceful_s: float) -> None:
        """Let requests finish; idle keep-alive connections, and those that never showed themselves, go at once."""
        for scope in tuple(self._unshown.values()):
            scope.cancel()
        await self._context.terminated.set()
        if self._fast is not None:
            self._fast.close()
        self._is_closing = True
        if self._streams:
            with trio.move_on_after(graceful_s):
                await self._all_gone.wait()

    async def _cut(self) -> None:
        """Close what is left. Hypercorn shields its sends: a peer that does not read is only got rid of like this."""
        self._is_closing = True
        if self._streams:
            with trio.move_on_after(LAST_WORDS_S, shield=True):
                await self._all_gone.wait()
        for stream in self._streams:
            stream.socket.close()

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _NO_FDS:
                    raise
                self._complain(error)
                await trio.sleep(PAUSE_WITHOUT_FDS_S)
            else:
                connections.start_soon(self._welcome, stream)

    def _complain(self, error: OSError) -> None:
        """Out of file descriptors: one line a second, however often it is tried."""
        now = trio.current_time()
        if now >= self._next_complaint:
            self._next_complaint = now + 1.0
            log.error("door.cannot_accept", error=errno.errorcode.get(error.errno or 0, "?"), open=len(self._streams))

    async def _welcome(self, stream: trio.SocketStream) -> None:
        """One connection, whatever becomes of it; nothing that goes wrong in it leaves here."""
        self._streams.add(stream)
        try:
            while (head := await self._first_bytes(stream)) is not None:
                if self._is_media(head):
                    await self._hand_over(stream, head)
                elif self._fast is not None and self._fast.is_ours(head):
                    if await self._fast.serve(stream):
                        continue  # its next request is for somebody else
                else:
                    await self._http(self._context, stream)
                return
        except* Exception as group:
            for error in _leaves(group):
                log_failure("door.connection_failed", error)
        finally:
            stream.socket.close()  # does nothing after a hand-over; another process has its own copy
            self._streams.discard(stream)
            if self._is_closing and not self._streams:
                self._all_gone.set()

    async def _hand_over(self, stream: trio.SocketStream, head: bytes) -> None:
        with suppress(OSError):  # it is gone already
            peer = _address(stream.socket.getpeername())
            if self._pass_on is not None and await self._pass_on(head, stream.socket.fileno(), peer):
                return
            self._plane.adopt(socket.socket(fileno=stream.socket.detach()), self._doorkeeper, peer=peer)

    async def _first_bytes(self, stream: trio.SocketStream) -> bytes | None:
        """The beginning of what the peer says, left unread. None: nothing of use came in time."""
        if len(self._unshown) >= MAX_UNSHOWN:
            oldest = next(iter(self._unshown))
            self._unshown.pop(oldest).cancel()
        with trio.move_on_after(SHOW_YOURSELF_S) as scope:
            self._unshown[stream] = scope
            try:
                return await _peek(stream.socket)
            except OSError:
                return None
            finally:
                self._unshown.pop(stream, None)
        return None


async def _peek(sock: trio.socket.SocketType) -> bytes | None:
    """Look at a connection's first bytes without taking them: up to a line's end, or enough to choose by."""
    head = await sock.recv(PEEK_BYTES, socket.MSG_PEEK)
    idle = 0
    while head and b"\n" not in head and len(head) < ENOUGH_BYTES:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(head) + 1)  # else what we have seen wakes us again
        await trio.lowlevel.wait_readable(sock)
        more = await sock.recv(PEEK_BYTES, socket.MSG_PEEK)
        if len(more) == len(head):  # no more will come: the peer has closed its side
            if idle:
                return None
            idle += 1
            await trio.sleep(0.05)
        head = more
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return head or None


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _address(name: object) -> str:
    """`203.0.113.7:51234`, `[2001:db8::1]:51234`; a Unix socket's peer has none."""
    if not isinstance(name, tuple):
        return "local"
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
