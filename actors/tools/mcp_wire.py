"""The official MCP client's way to a server, held to our rules: guarded addresses, no proxy, bounded answers.

Imported only where an agent file has `mcp:`, since the `mcp` package is optional (specs/decisions/0009-mcp.md).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore2
import httpx
import httpx2
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from actors.net_guard import ForbiddenAddress, GuardedBackend, Resolve, SystemResolver
from engine.mcp_tools import McpServer

KEPT_S = 30.0


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """The guard in the terms of httpcore's successor, which the MCP client uses."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        # The two libraries' networks and streams are the same shape, and neither knows the other's.
        self._guard = GuardedBackend(resolve, allow_private=allow_private, network=httpcore2.TrioBackend())  # type: ignore[arg-type]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._guard.connect_tcp(host, port, timeout)  # type: ignore[return-value]
        except ForbiddenAddress as forbidden:
            raise httpcore2.ConnectError(forbidden.why) from forbidden
        except Exception as lost:
            raise httpcore2.ConnectError("no connection") from lost


class GuardedTransport(httpx2.AsyncBaseTransport):
    """httpx2's transport over guarded connections. An answer that is packed, or too long, is an error."""

    def __init__(self, network: GuardedNetwork, most_bytes: int) -> None:
        context = httpx.create_ssl_context()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context, network_backend=network, max_connections=100, keepalive_expiry=KEPT_S
        )
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        asked = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await self._pool.handle_async_request(asked)
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as lost:
            raise httpx2.ConnectError(type(lost).__name__, request=request) from lost
        if any(name.lower() == b"content-encoding" and value != b"identity" for name, value in answer.headers):
            await answer.aclose()
            raise httpx2.ReadError("a packed answer, though none was asked for", request=request)
        most = None if request.method == "GET" else self._most_bytes  # a GET is the stream of a whole session
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Bounded(answer, most))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response, most_bytes: int | None) -> None:
        self._answer, self._most_bytes = answer, most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        try:
            async for piece in self._answer.aiter_stream():
                taken += len(piece)
                if self._most_bytes is not None and taken > self._most_bytes:
                    raise httpx2.ReadError("too long an answer")
                yield piece
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as lost:
            raise httpx2.ReadError(type(lost).__name__) from lost

    async def aclose(self) -> None:
        await self._answer.aclose()


@asynccontextmanager
async def open_session(
    plan: McpServer, folder: Path, *, resolve: Resolve | None = None
) -> AsyncIterator[ClientSession]:
    """A session with a server, after the handshake. Its end ends the connection, or the process.

    Args:
        folder: where a process starts: the agent file's.
    """
    if plan.command:
        command, *arguments = plan.command
        parameters = StdioServerParameters(command=command, args=arguments, env=dict(plan.env), cwd=folder)
        # What a server prints may hold callers' words.
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # noqa: ASYNC230 — /dev/null does not block
            async with (
                stdio_client(parameters, errlog=nowhere) as (read, write),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                yield session
        return
    network = GuardedNetwork(resolve or SystemResolver(), allow_private=plan.allow_private)
    async with (
        httpx2.AsyncClient(
            transport=GuardedTransport(network, plan.max_bytes),
            headers={**plan.headers, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(plan.connect_s, read=None),
            trust_env=False,
        ) as http,
        streamable_http_client(plan.url, http_client=http) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session
