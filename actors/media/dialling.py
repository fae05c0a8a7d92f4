"""The first half of a dial: an address, and a TCP connection to it."""

from __future__ import annotations

import socket

import trio
from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from actors.media.handshake import DialFailed

__all__ = ["connect", "target_of"]


def target_of(url: str) -> WebSocketURI:
    """Raises `DialFailed` when `url` is not a websocket address. The message does not repeat it."""
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError):
        raise DialFailed("not a ws:// or wss:// address") from None


async def connect(target: WebSocketURI) -> socket.socket:
    """A TCP connection to whichever of the host's addresses answers first, taken out of Trio's hands."""
    try:
        stream = await trio.open_tcp_stream(target.host, target.port)
    except OSError as error:
        raise DialFailed(f"no connection: {_kind_of(error)}") from error
    return socket.socket(fileno=stream.socket.detach())


def _kind_of(error: OSError) -> str:
    """Trio hides the reason of a refused connection one level down."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return type(cause or error).__name__
