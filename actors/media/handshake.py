"""The opening handshake, both sides, without a socket: the head of a request or a response, and what follows from it.

A head is collected here and given to the library whole; what came after it in the same packet stays with us, so the
library never sees a frame before the connection is open. Heads are bounded. Messages name no address: a Vapi
websocket URL is a secret (vapi.md §4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from actors.media.failures import log_failure
from actors.media.session import library_log
from actors.ports import Doorkeeper, Refusal, Upgrade, WireListener

__all__ = ["Answering", "Asking", "DialFailed", "HandshakeRefused"]

MAX_HEAD_BYTES = 16_384


class DialFailed(ConnectionError):
    """A websocket that we wanted to open did not open. `status`: what the server answered instead of 101."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


class HandshakeRefused(Exception):
    """We have answered an upgrade with something else than 101: it is in the protocol's `data_to_send`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"upgrade refused with {status}")
        self.status = status


class _Head:
    """Collects bytes up to the empty line."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The head and what came after it; None while it is incomplete.

        Raises:
            OverflowError: it is longer than we read.
        """
        searched = max(0, len(self._bytes) - 3)
        self._bytes += data
        end = self._bytes.find(b"\r\n\r\n", searched)
        if max(end, len(self._bytes) if end < 0 else 0) > MAX_HEAD_BYTES:
            raise OverflowError
        if end < 0:
            return None
        return bytes(self._bytes[: end + 4]), bytes(self._bytes[end + 4 :])


class Answering:
    """The server's side: reads the request, asks the doorkeeper, writes the answer into the protocol."""

    def __init__(self, doorkeeper: Doorkeeper, peer: str, max_message_bytes: int) -> None:
        self._doorkeeper, self._peer = doorkeeper, peer
        self._head = _Head()
        self.protocol: Protocol
        self.protocol = self._server = ServerProtocol(max_size=max_message_bytes, logger=library_log)

    def feed(self, data: bytes) -> tuple[WireListener, bytes] | None:
        """The listener of the open wire and the bytes after the head; None while the head is incomplete.

        Raises:
            HandshakeRefused: the answer is not 101.
        """
        try:
            parts = self._head.feed(data)
        except OverflowError:
            raise self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
        if parts is None:
            return None
        head, rest = parts
        self._server.receive_data(head)
        events = self._server.events_received()
        if not events or not isinstance(events[0], Request):
            raise HandshakeRefused(HTTPStatus.BAD_REQUEST)
        return self._decide(events[0]), rest

    def _decide(self, request: Request) -> WireListener:
        response = self._server.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._server.send_response(response)
            raise HandshakeRefused(response.status_code)
        try:
            verdict = self._doorkeeper(Upgrade(request.path, _lower_case(request), self._peer))
        except Exception as error:
            log_failure("media.doorkeeper_failed", error, peer=self._peer)
            raise self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR) from error
        if isinstance(verdict, Refusal):
            raise self._refuse(verdict.status, verdict.body)
        self._server.send_response(response)
        return verdict

    def _refuse(self, status: int, body: str = "") -> HandshakeRefused:
        try:
            response = self._server.reject(HTTPStatus(status), body)
        except ValueError:  # a number that HTTP does not have
            response = self._server.reject(HTTPStatus.INTERNAL_SERVER_ERROR, "")
        self._server.send_response(response)
        return HandshakeRefused(response.status_code)


def _lower_case(request: Request) -> Mapping[str, str]:
    """Header names in lower case. One that came twice is joined with a comma, so it matches nothing by luck."""
    headers: dict[str, str] = {}
    for name, text in request.headers.raw_items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


class Asking:
    """The client's side: writes the request into the protocol, reads the response."""

    def __init__(
        self, uri: WebSocketURI, listener: WireListener, headers: Mapping[str, str], max_message_bytes: int
    ) -> None:
        self._listener = listener
        self._head = _Head()
        self.protocol: Protocol
        self.uri = uri
        self.protocol = self._client = ClientProtocol(uri, max_size=max_message_bytes, logger=library_log)
        request = self._client.connect()
        for name, text in headers.items():
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = text
        self._client.send_request(request)

    def feed(self, data: bytes) -> tuple[WireListener, bytes] | None:
        """As `Answering.feed`.

        Raises:
            DialFailed: the answer is not a 101 that fits our request.
        """
        try:
            parts = self._head.feed(data)
        except OverflowError:
            raise DialFailed("the answer's head is too long") from None
        if parts is None:
            return None
        head, rest = parts
        status = _status_of(head)
        if status != HTTPStatus.SWITCHING_PROTOCOLS:
            raise DialFailed(f"the server answered {status}", status=status)
        self._client.receive_data(head)
        if self._client.handshake_exc is not None:
            raise DialFailed(f"not a websocket answer: {type(self._client.handshake_exc).__name__}", status=status)
        self._client.events_received()
        return self._listener, rest


def _status_of(head: bytes) -> int:
    parts = head.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1][:3].isdigit():
        raise DialFailed("the answer is not HTTP")
    return int(parts[1][:3])
