"""Bytes in and out of one non-blocking socket, in the clear or through TLS. Nothing here waits."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from actors.media.statistics import PlaneStatistics

__all__ = ["READ_BYTES", "Fetched", "PlainTransport", "TlsSessions", "TlsTransport", "Transport", "prepare"]

READ_BYTES = 65_536
"""At most so much is read from one socket before the others have their turn."""

USER_TIMEOUT_MS = 10_000
"""Unacknowledged for so long: the kernel gives the connection up. Shorter would cut a phone that passes a tunnel."""

KERNEL_UNSENT_BYTES = 16_384
"""What the kernel may hold that it has not put on the line: 0.8 s of Twilio's JSON. Its default is minutes of speech,
which neither our bound nor a barge-in could reach."""

TLS_SESSIONS = 64
"""So many servers' sessions are kept. Vapi is one or two; each is some kilobytes."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def prepare(sock: socket.socket) -> None:
    """Set what every media socket needs; what the platform, or a Unix socket, does not have is left out."""
    sock.setblocking(False)
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, amount in (("TCP_USER_TIMEOUT", USER_TIMEOUT_MS), ("TCP_NOTSENT_LOWAT", KERNEL_UNSENT_BYTES)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, amount)


Fetched = bytes | OSError | None


class Transport(Protocol):
    """Errors of the connection come out of every method but `fetch` as `OSError` (TLS's are a kind of it)."""

    @property
    def ready(self) -> bool:
        """The bytes of a message can be taken now (TLS: its handshake is done)."""

    @property
    def watched(self) -> int:
        """What epoll is to tell of this socket, but for room to write."""

    @property
    def at_once(self) -> Callable[[bytes], int] | None:
        """`send` without any care: errors are the socket's own, `BlockingIOError` too. None: use `send`."""

    @property
    def owes(self) -> bool:
        """Bytes already taken wait for room in the socket."""

    @property
    def at_end(self) -> bool:
        """The stream has ended, though the last `fetch` still gave bytes."""

    def fetch(self) -> Fetched:
        """What has come; empty at the end of the stream, None when there is nothing just now. Raises nothing."""

    def send(self, data: bytes) -> int:
        """Take some of `data`; how many bytes were taken. Call with nothing to push on what is owed."""

    def end(self) -> None:
        """Say that nothing more will be sent."""

    def close(self) -> None: ...

    def reset(self) -> None:
        """Close so that the peer and the kernel forget the connection at once."""


class PlainTransport:
    __slots__ = ("_receive", "_sock", "at_once")

    # Each arrival is told once: epoll need not ask the socket again whether it has been read dry, half of its work. So
    # who reads less than there is must come back by themselves (`MediaPlane._fetch`, `MediaWire.read`).
    watched = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
    ready = True
    owes = False
    at_end = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._receive = sock, sock.recv
        self.at_once: Callable[[bytes], int] | None = sock.send

    def fetch(self) -> Fetched:
        try:
            return self._receive(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return error.with_traceback(None)  # its frames hold whoever holds it: a circle for the collector

    def send(self, data: bytes) -> int:
        if not data:
            return 0
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def end(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        _reset(self._sock)


TlsPlace = tuple[str, int, ssl.SSLContext]
"""Whose session it is. The host belongs to it because a resumed handshake checks no certificate, the context because it
says whom we trust."""


class TlsSessions:
    """The latest TLS session of each server dialled: resuming it saves a signature and its check on both sides."""

    def __init__(self, counts: PlaneStatistics, limit: int = TLS_SESSIONS) -> None:
        self._counts, self._limit = counts, limit
        self._sessions: OrderedDict[TlsPlace, ssl.SSLSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, place: TlsPlace) -> ssl.SSLSession | None:
        return self._sessions.get(place)

    def keep(self, place: TlsPlace, session: ssl.SSLSession) -> None:
        """Who was not dialled for the longest is forgotten when there are too many."""
        self._sessions[place] = session
        self._sessions.move_to_end(place)
        if len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def forget(self, place: TlsPlace) -> None:
        self._sessions.pop(place, None)

    def count(self, *, is_resumed: bool) -> None:
        self._counts.tls_dials += 1
        self._counts.tls_resumed += is_resumed


class TlsTransport:
    """The client's side of TLS, over memory buffers, so that it fits the plane's one task.

    A session is offered if `sessions` has one; a server that will not resume makes a full handshake of it. It is
    taken when the first data have come (TLS 1.3 brings tickets after the handshake, as a rule with them) and again at
    the end, for the latest ticket.
    """

    watched = select.EPOLLIN

    __slots__ = (
        "_cipher",
        "_has_offered",
        "_incoming",
        "_outgoing",
        "_place",
        "_sessions",
        "_sock",
        "_tls",
        "_wants",
        "at_end",
        "at_once",
        "ready",
    )

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str, port: int, sessions: TlsSessions
    ) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sessions, self._place = sessions, (server_hostname, port, context)
        offered = sessions.find(self._place)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname, session=offered)
        self._cipher = b""
        self._has_offered, self._wants = offered is not None, True
        self.at_end = self.ready = False
        self.at_once: Callable[[bytes], int] | None = None

    @property
    def owes(self) -> bool:
        return bool(self._cipher)

    def fetch(self) -> Fetched:
        try:
            return self._receive()
        except OSError as error:
            return error.with_traceback(None)

    def _receive(self) -> bytes | None:
        try:
            cipher = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        if cipher:
            self._incoming.write(cipher)
        else:
            self._incoming.write_eof()
        try:
            return self._decrypt()
        finally:
            self._push()

    def _decrypt(self) -> bytes | None:
        if not self._shake():
            return None
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(READ_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            if pieces and self._wants:
                self._wants = False
                self._keep_session()
            return b"".join(pieces) or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        self.at_end = True
        return b"".join(pieces)

    def _shake(self) -> bool:
        if not self.ready:
            with suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self.ready = True
                self._sessions.count(is_resumed=bool(self._tls.session_reused))
        return self.ready

    def _keep_session(self) -> None:
        """Of use is one with a ticket or, up to TLS 1.2, one that the server knows by its number."""
        session = self._tls.session
        if session is not None and (session.has_ticket or (session.id and self._tls.version() == "TLSv1.2")):
            self._sessions.keep(self._place, session)

    def _part(self) -> None:
        """The socket goes. A handshake that was not finished may have failed because of what we offered."""
        if self.ready:
            self._keep_session()
        elif self._has_offered:
            self._sessions.forget(self._place)

    def send(self, data: bytes) -> int:
        if self._cipher:
            self._push()
            if self._cipher:
                return 0
        taken = 0
        if self._shake() and data:
            with suppress(ssl.SSLWantReadError):  # the peer changes keys
                taken = self._tls.write(data)
        self._push()
        return taken

    def _push(self) -> None:
        self._cipher += self._outgoing.read()
        if self._cipher:
            with suppress(BlockingIOError):
                self._cipher = self._cipher[self._sock.send(self._cipher) :]

    def end(self) -> None:
        if self.ready:
            with suppress(ssl.SSLError):  # it waits for the peer's answer, which we do not need
                self._tls.unwrap()
            self._push()
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._part()
        self._sock.close()

    def reset(self) -> None:
        self._part()
        _reset(self._sock)


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()
