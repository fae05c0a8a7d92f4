"""Bytes in and out of one non-blocking socket, in the clear or through TLS. Nothing here waits."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from typing import Protocol

__all__ = ["PlainTransport", "TlsTransport", "Transport", "prepare"]

READ_BYTES = 65_536
"""At most so much is read from one socket before the others have their turn."""

USER_TIMEOUT_MS = 10_000
"""Unacknowledged for so long: the kernel gives the connection up. Shorter would cut a phone that passes a tunnel."""

KERNEL_UNSENT_BYTES = 16_384
"""What the kernel may hold that it has not put on the line: 0.8 s of Twilio's JSON. Its default is minutes of speech,
which neither our bound nor a barge-in could reach."""

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


class Transport(Protocol):
    """Errors of the connection come out of every method as `OSError` (TLS's are a kind of it)."""

    @property
    def ready(self) -> bool:
        """The bytes of a message can be taken now (TLS: its handshake is done)."""

    @property
    def owes(self) -> bool:
        """Bytes already taken wait for room in the socket."""

    @property
    def at_end(self) -> bool:
        """The stream has ended, though the last `receive` still gave bytes."""

    def receive(self) -> bytes | None:
        """What has come; empty at the end of the stream, None when there is nothing just now."""

    def send(self, data: bytes) -> int:
        """Take some of `data`; how many bytes were taken. Call with nothing to push on what is owed."""

    def end(self) -> None:
        """Say that nothing more will be sent."""

    def close(self) -> None: ...

    def reset(self) -> None:
        """Close so that the peer and the kernel forget the connection at once."""


class PlainTransport:
    __slots__ = ("_receive", "_send", "_sock")

    ready = True
    owes = False
    at_end = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._receive, self._send = sock, sock.recv, sock.send

    def receive(self) -> bytes | None:
        try:
            return self._receive(READ_BYTES)
        except BlockingIOError:
            return None

    def send(self, data: bytes) -> int:
        if not data:
            return 0
        try:
            return self._send(data)
        except BlockingIOError:
            return 0

    def end(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        _reset(self._sock)


class TlsTransport:
    """The client's side of TLS, over memory buffers, so that it fits the plane's one task."""

    __slots__ = ("_cipher", "_incoming", "_outgoing", "_sock", "_tls", "at_end", "ready")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._cipher = b""
        self.at_end = self.ready = False

    @property
    def owes(self) -> bool:
        return bool(self._cipher)

    def receive(self) -> bytes | None:
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
        return self.ready

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
        self._sock.close()

    def reset(self) -> None:
        _reset(self._sock)


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()
