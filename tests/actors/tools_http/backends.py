"""Backends over real sockets on loopback, and an internet where public addresses lead to them."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore
import msgspec
import trio
import trustme

from actors.tools.http import RequestTool
from actors.tools.outbound import Outbound
from actors.tools.port import Caller, ToolContext
from engine.http_tools import HttpTool

PUBLIC = "93.184.216.34"  # stands for the backend on the internet: nothing of a test leaves the machine
CONTEXT = ToolContext(Caller("call-1", "+15550123"), "tool-call-1", "key-1")

Answerer = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as it came over the wire, and the line to answer on."""

    head: str
    body: bytes
    stream: trio.abc.Stream
    hangs_up: bool = False

    @property
    def line(self) -> str:
        return self.head.split("\r\n")[0]

    @property
    def headers(self) -> dict[str, str]:
        pairs = (one.split(": ", 1) for one in self.head.split("\r\n")[1:] if one)
        return {name.lower(): value for name, value in pairs}

    async def answer(self, body: bytes = b"{}", *, status: int = 200, kind: str = "application/json",
                     headers: Sequence[str] = ()) -> None:  # fmt: skip
        """A whole answer."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers, "", ""]
        await self.stream.send_all("\r\n".join(lines).encode() + body)


@dataclass
class Backend:
    """A server of a test. `asked` holds every request; `connections` counts even those that asked nothing."""

    answer: Answerer
    port: int = 0
    connections: int = 0
    open_now: int = 0
    asked: list[Exchange] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # that TLS clients asked for

    async def live(self, stream: trio.abc.Stream) -> None:
        """One connection, until somebody hangs up."""
        self.connections += 1
        self.open_now += 1
        try:
            async with stream:
                while (exchange := await self._read(stream)) is not None:
                    self.asked.append(exchange)
                    await self.answer(exchange)
                    if exchange.hangs_up:
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # a client that gave up
        finally:
            self.open_now -= 1

    async def _read(self, stream: trio.abc.Stream) -> Exchange | None:
        held = b""
        while b"\r\n\r\n" not in held:
            more = await stream.receive_some()
            if not more:
                return None
            held += more
        head, _, body = held.partition(b"\r\n\r\n")
        exchange = Exchange(head.decode("latin-1"), body, stream)
        while len(exchange.body) < int(exchange.headers.get("content-length", "0")):
            exchange.body += await stream.receive_some()
        return exchange


async def open_backend(
    nursery: trio.Nursery, answer: Answerer, *, host: str = "127.0.0.1", certificate: trustme.LeafCert | None = None
) -> Backend:
    """A backend that listens; it ends with the nursery."""
    backend = Backend(answer)
    listeners: list[trio.abc.Listener[Any]] = [*await trio.open_tcp_listeners(0, host=host)]
    assert isinstance(listeners[0], trio.SocketListener)
    backend.port = listeners[0].socket.getsockname()[1]
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)

        def name_asked(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
            backend.names.append(name)

        context.sni_callback = name_asked
        listeners = [trio.SSLListener(one, context) for one in listeners]
    nursery.start_soon(trio.serve_listeners, backend.live, listeners)
    return backend


class Internet(httpcore.AsyncNetworkBackend):
    """Where an address leads, as if it were out there. `dialled` holds every address that somebody tried."""

    def __init__(self, leads: dict[str, tuple[str, int]]) -> None:
        self._leads, self.dialled = leads, list[str]()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        self.dialled.append(host)
        if host not in self._leads:
            raise httpcore.ConnectError("no route")
        there, its_port = self._leads[host]
        return await httpcore.TrioBackend().connect_tcp(there, its_port)


class Names:
    """A name server: each question gets the next answer, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers: Iterator[Sequence[str]] = iter(answers)
        self._last: Sequence[str] = ()
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        self._last = next(self._answers, self._last)
        return self._last


def local_tool(outbound: Outbound, backend: Backend, path: str = "/orders/{order_id}", **keys: Any) -> RequestTool:
    """An HTTP tool of an agent file whose backend runs on this machine."""
    url = f"http://127.0.0.1:{backend.port}{path}"
    usual = {"parameters": {"order_id": {}}, "allow_private": True, "timeout_s": 2}
    return make(outbound, **{"url": url, **usual, **keys})


def make(outbound: Outbound, **keys: Any) -> RequestTool:
    plan = {"description": "Look up an order.", "effect": "read", **keys}
    return RequestTool("find_order", msgspec.convert(plan, HttpTool), outbound)
