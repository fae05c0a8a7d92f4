"""One HTTP/1.1 request, read from a socket that is looked at before anything is taken from it.

What lies behind the request stays in the kernel, so at every request's end the connection can be given away unspoilt.
The reading itself is llhttp's (httptools); where a message ends is found here, because httptools does not tell.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

import trio
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

__all__ = ["Doing", "Gone", "HeaderPairs", "Limits", "Line", "Request", "Unservable", "read_request"]

HEAD_END = b"\r\n\r\n"
LOOK_BYTES = 64 * 1024
PIECE_BYTES = 256 * 1024
_NEW_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_FRAMING = frozenset({b"content-length", b"host", b"transfer-encoding", b"expect"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Unservable(Exception):
    """The request gets this status, and its connection ends."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Gone(Exception):
    """The peer ended in the middle of a request: nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time is from a request's first byte to its last."""

    body_bytes: int = 8 * 1024 * 1024
    head_bytes: int = 16 * 1024
    request_s: float = 10.0
    idle_s: float = 75.0
    send_s: float = 10.0
    linger_s: float = 2.0  # for a refused peer to read why, while it still sends


class HeaderPairs(list[tuple[str, str]]):
    """Headers as they came: names in lower case, repeated ones repeated."""

    __slots__ = ()

    def items(self) -> list[tuple[str, str]]:
        return self


@dataclass(slots=True)
class Request:
    query: bytes
    headers: HeaderPairs = field(repr=False)
    body: bytes = field(repr=False)
    keep_alive: bool


class Doing(Enum):
    NOTHING = auto()
    READING = auto()
    ANSWERING = auto()


class Line:
    """A connected, non-blocking socket. `seen` is still in the kernel; its first `used` bytes are spoken for."""

    __slots__ = ("deadline", "doing", "scope", "seen", "sock", "used")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.seen, self.used = b"", 0
        self.scope = trio.CancelScope()
        self.deadline, self.doing = inf, Doing.NOTHING

    def look(self) -> bool:
        """Look at what there is (nothing, when the peer has ended). False: nothing as yet."""
        try:
            self.seen = self.sock.recv(LOOK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def take(self) -> bool:
        """Take what is used. Whether more lay behind it."""
        left, more = self.used, self.used < len(self.seen)
        while left:
            took = len(self.sock.recv(left))
            if not took:
                raise Gone
            left -= took
        self.seen, self.used = b"", 0
        return more

    async def look_further(self) -> None:
        """Take all that was seen, and wait for what follows."""
        self.used = len(self.seen)
        self.take()
        await trio.lowlevel.checkpoint()  # who sends without end still lets others run
        while not self.look():
            await trio.lowlevel.wait_readable(self.sock)
        if not self.seen:
            raise Gone

    async def receive(self, most: int) -> bytes:
        """Some bytes, taken at once; empty when the peer has ended. Only when nothing is left to look at."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.sock.recv(most)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)

    async def send(self, data: bytes) -> None:
        sent = 0
        while True:
            try:
                sent += self.sock.send(data[sent:] if sent else data)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)
            if sent == len(data):
                return


class _Head:
    """What llhttp calls back with; a head is fed to it whole."""

    __slots__ = ("_parser", "expects", "headers", "hosts", "is_chunked", "keep_alive", "length", "url", "version")

    def __init__(self, head: bytes) -> None:
        self.url, self.version = b"", ""
        self.headers = HeaderPairs()
        self.hosts, self.length = 0, 0
        self.is_chunked = self.expects = self.keep_alive = False
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except HttpParserUpgrade:
            pass  # an offer of another protocol (h2c): not taken up, the request stands
        except HttpParserError:
            raise Unservable(400) from None
        finally:
            self._parser = None  # else each request leaves a cycle for the collector
        if self.version not in ("1.0", "1.1") or (self.version == "1.1" and self.hosts != 1):
            raise Unservable(400)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.strip(b" \t")  # llhttp leaves what stands behind a value
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))
        if name in _FRAMING:
            self._note(name, value)

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self.length = int(value)
        elif name == b"host":
            self.hosts += 1
        elif name == b"transfer-encoding":
            self.is_chunked = True
        else:
            self.expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.version = self._parser.get_http_version()
        self.keep_alive = self.version == "1.1" and self._parser.should_keep_alive()


class _Chunks:
    """Collects a chunked body. Trailers are checked by llhttp and dropped."""

    __slots__ = ("_most", "_parser", "is_done", "pieces", "size")

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self.pieces: list[bytes] = []
        self.size, self.is_done = 0, False
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(_NEW_BODY)  # a parser of its own: the head's may believe in an upgrade

    def feed(self, data: bytes) -> None:
        """Raises `Unservable`."""
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            raise Unservable(413 if self.size > self._most else 400) from None

    def on_body(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._most:
            raise ValueError
        self.pieces.append(piece)

    def on_message_begin(self) -> None:
        if self.is_done:
            raise ValueError

    def on_message_complete(self) -> None:
        self.is_done = True


async def read_request(line: Line, limits: Limits) -> Request:
    """Read the request whose beginning is `line.seen`; take it, and nothing behind it.

    Raises:
        Unservable: it cannot be served, and the connection neither.
        Gone: the peer ended before the request did.
    """
    head = _Head(await _head(line, limits))
    if head.length > limits.body_bytes:
        raise Unservable(413)
    if head.expects and line.used == len(line.seen) and (head.length or head.is_chunked):
        await line.send(_CONTINUE)
    if head.is_chunked:
        body = await _chunked_body(line, limits)
    else:
        body = await _body(line, head.length)
    return Request(head.url.partition(b"?")[2], head.headers, body, head.keep_alive)


async def _head(line: Line, limits: Limits) -> bytes:
    head, start = line.seen, 0
    while (end := head.find(HEAD_END, start)) < 0:
        if len(head) > limits.head_bytes:
            raise Unservable(431)
        if b"\n\n" in head:  # somebody types: llhttp takes no bare line feeds, the end would never come
            raise Unservable(400)
        start = max(len(head) - 3, 0)
        await line.look_further()
        head += line.seen
    size = end + len(HEAD_END)
    if size > limits.head_bytes:
        raise Unservable(431)
    line.used = len(line.seen) - (len(head) - size)
    return head[:size]


async def _body(line: Line, length: int) -> bytes:
    body = line.seen[line.used : line.used + length]
    line.used += len(body)
    if len(body) == length:
        return body
    line.take()
    pieces, left = [body], length - len(body)
    while left:
        piece = await line.receive(min(left, PIECE_BYTES))
        if not piece:
            raise Gone
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


async def _chunked_body(line: Line, limits: Limits) -> bytes:
    """llhttp is fed up to each place where the body could end, which is always behind an empty line."""
    chunks, tail = _Chunks(limits.body_bytes), b""
    while True:
        text = tail + line.seen[line.used :]
        fed, found = len(tail), text.find(HEAD_END)
        while not chunks.is_done and fed < len(text):
            cut = found + len(HEAD_END) if found >= 0 else len(text)
            chunks.feed(text[fed:cut])
            fed, found = cut, text.find(HEAD_END, cut)
        if chunks.is_done:
            line.used = len(line.seen) - (len(text) - fed)
            return b"".join(chunks.pieces)
        tail = text[-3:]
        await line.look_further()
