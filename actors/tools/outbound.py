"""The way out for tools of agent files: guarded connections, kept for a moment, and answers of a bounded size.

One per process. Nothing here follows a redirect, keeps a cookie, asks a proxy or reads the environment, save for
`SSL_CERT_FILE` and `SSL_CERT_DIR`, by which an operator adds a certificate authority of their own.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from actors.net_guard import GuardedBackend, Resolve, SystemResolver

MOST_CONNECTIONS = 1000  # to one backend; one more waits for a free one, then is told to come back
KEPT_CONNECTIONS = 20
KEPT_S = 2.0  # given up before any server would: a request that meets its closing looks like a lost one
_PACKED = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True)
class Destination:
    """Whom a tool asks. Connections are shared by tools with the same one, and by no others."""

    scheme: str
    host: str  # as the URL says it, IDN encoded, without brackets and trailing dot
    port: int
    allow_private: bool

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(slots=True)
class Answer:
    """What came back. `body` is None when it was longer than allowed or packed in an unknown way."""

    status: int
    content_type: str
    body: bytes | None = field(repr=False)


class Sent:
    """Whether a request's first byte may have gone out: before that, nothing has happened anywhere."""

    def __init__(self) -> None:
        self.begun = False

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """httpcore's trace hook."""
        if event.endswith("send_request_headers.started"):
            self.begun = True


class Outbound:
    """Guarded HTTP/1.1 over Trio.

    Args:
        resolve: a name's addresses; the machine's resolver unless a test says otherwise.
        tls: makes the TLS context, once: it takes 40 ms.
        network: connects to addresses that the guard let through; Trio's sockets unless a test says otherwise.
    """

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        tls: Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._resolve, self._make_tls, self._network = resolve, tls, network
        self._tls: ssl.SSLContext | None = None
        self._pools: dict[Destination, httpcore.AsyncConnectionPool] = {}

    async def ask(
        self,
        to: Destination,
        *,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        sent: Sent,
        connect_s: float,
        most_bytes: int,
        fresh: bool,
    ) -> Answer:
        """One request and its answer, whatever its status. The caller's cancel scope is the time it may take in all.

        Args:
            fresh: on a connection of its own. A kept one may be closing just now, and then nobody knows whether the
                request was seen.

        Raises:
            ForbiddenAddress: the host leads to where we do not connect.
            httpcore's errors: the line's; `sent` says whether something may have happened.
        """
        url = httpcore.URL(scheme=to.scheme, host=to.host, port=to.port, target=target)
        length = [] if body is None else [("Content-Length", str(len(body)))]
        request = httpcore.Request(
            method,
            url,
            headers=[("Host", to.host_header), *headers, *length],
            content=body,
            extensions={"timeout": {"connect": connect_s, "pool": connect_s}, "trace": sent.trace},
        )
        if not fresh:
            return await _answer(await self._pool(to).handle_async_request(request), most_bytes)
        async with httpcore.AsyncHTTPConnection(
            url.origin, ssl_context=self._tls_for(to), network_backend=self._backend(to)
        ) as connection:
            return await _answer(await connection.handle_async_request(request), most_bytes)

    async def aclose(self) -> None:
        """Close kept connections. May be used again afterwards."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()

    def statistics(self) -> dict[str, int]:
        """Connections open now, by backend's host."""
        return {to.host: len(pool.connections) for to, pool in self._pools.items()}

    def _pool(self, to: Destination) -> httpcore.AsyncConnectionPool:
        if to not in self._pools:
            self._pools[to] = httpcore.AsyncConnectionPool(
                ssl_context=self._tls_for(to),
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=KEPT_CONNECTIONS,
                keepalive_expiry=KEPT_S,
                network_backend=self._backend(to),
            )
        return self._pools[to]

    def _backend(self, to: Destination) -> GuardedBackend:
        if self._resolve is None:
            self._resolve = SystemResolver()
        return GuardedBackend(self._resolve, allow_private=to.allow_private, network=self._network)

    def _tls_for(self, to: Destination) -> ssl.SSLContext | None:
        if to.scheme != "https":
            return None
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls


async def _answer(response: httpcore.Response, most_bytes: int) -> Answer:
    headers = {name.lower(): value for name, value in response.headers}
    packed = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    length = headers.get(b"content-length", b"0")
    unpack = None if packed in ("", "identity") else _PACKED.get(packed, 0)
    is_readable = unpack != 0 and not (length.isdigit() and int(length[:20]) > most_bytes)
    body = await _body(response, most_bytes, unpack) if is_readable else None
    await response.aclose()
    return Answer(response.status, content_type, body)


async def _body(response: httpcore.Response, most_bytes: int, unpack: int | None) -> bytes | None:
    """An answer's body, unpacked; None if it is too long or is not what its header says."""
    unpacker = None if unpack is None else zlib.decompressobj(unpack)
    stream = response.stream
    assert isinstance(stream, AsyncIterable)
    held: bytearray | None = bytearray()
    try:
        async for piece in stream:
            if held is None:
                continue  # what was read already; leaving the loop would leave its generators open
            try:
                held += piece if unpacker is None else unpacker.decompress(piece, most_bytes + 1 - len(held))
            except zlib.error:
                held = None
            if held is None or len(held) > most_bytes or (unpacker is not None and unpacker.unconsumed_tail):
                held = None
                await response.aclose()  # hangs up: the next read ends the loop
    except httpcore.ReadError:
        if held is not None:
            raise
    return None if held is None or (unpacker is not None and not unpacker.eof) else bytes(held)
