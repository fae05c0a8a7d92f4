"""Dials over TLS resume the session of an earlier one, and never depend on it. The servers are real, on loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import pytest
import trio
import trustme
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from actors.media import DialFailed, MediaPlane
from actors.media.statistics import PlaneStatistics
from actors.media.transport import TlsSessions
from tests.actors.media.harness import PATIENCE_S, Recorder, until

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

NewContext = Callable[[], ssl.SSLContext]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def tls_server(context_of: NewContext) -> AsyncIterator[tuple[int, list[bool]]]:
    """Opens websockets and waits for their end. Gives its port, and of each handshake whether it was resumed.

    `context_of` is asked at each connection: a new context has new keys, so it can resume nothing.
    """
    resumed: list[bool] = []

    async def handle(tcp: trio.SocketStream) -> None:
        stream = trio.SSLStream(tcp, context_of(), server_side=True, https_compatible=True)
        try:
            await stream.do_handshake()
            resumed.append(stream.session_reused)
            protocol = ServerProtocol()
            while not protocol.eof_sent:
                protocol.receive_data(await stream.receive_some())
                for event in protocol.events_received():
                    if isinstance(event, Request):
                        protocol.send_response(protocol.accept(event))
                await stream.send_all(b"".join(protocol.data_to_send()))
            await stream.aclose()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1], resumed
        nursery.cancel_scope.cancel()


async def call(plane: MediaPlane, url: str, context: ssl.SSLContext, *, by_reset: bool = False) -> None:
    """One dial from its opening to its end."""
    heard = Recorder()
    wire = await plane.dial(url, heard, ssl_context=context, timeout_s=PATIENCE_S)
    if by_reset:
        wire.abort()
    else:
        wire.close(1000)
    await until(lambda: heard.closings and plane.statistics().sockets_now == 0)
    assert heard.code == (1006 if by_reset else 1000)


def tls_counts(plane: MediaPlane) -> tuple[int, int]:
    statistics = plane.statistics()
    return statistics.tls_dials, statistics.tls_resumed


@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_second_dial_resumes(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion, by_reset: bool
) -> None:
    """However the wire before it ended, and the server agrees that it was resumed."""
    context = server_context(authority, version)
    async with tls_server(lambda: context) as (port, resumed):
        for _ in range(4):
            await call(plane, f"wss://127.0.0.1:{port}/", trusting, by_reset=by_reset)
    assert resumed == [False, True, True, True]
    assert tls_counts(plane) == (4, 3)


@pytest.mark.parametrize("version", VERSIONS)
async def test_many_dials_at_once_resume(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """One ticket serves all who come at the same moment, while the wire that brought it is still open."""
    context = server_context(authority, version)
    async with tls_server(lambda: context) as (port, resumed):
        url, ears = f"wss://127.0.0.1:{port}/", [Recorder() for _ in range(9)]
        await plane.dial(url, ears[0], ssl_context=trusting)
        async with trio.open_nursery() as nursery:
            for ear in ears[1:]:
                nursery.start_soon(partial(plane.dial, url, ear, ssl_context=trusting, timeout_s=PATIENCE_S))
        assert tls_counts(plane) == (9, 8)
        for ear in ears:
            ear.wire.close()
        await until(lambda: plane.statistics().sockets_now == 0)
    assert sorted(resumed) == [False] + 8 * [True]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_will_not_resume(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """Its keys are new each time, as behind a balancer: full handshakes, and every wire opens."""
    async with tls_server(lambda: server_context(authority, version)) as (port, resumed):
        for _ in range(3):
            await call(plane, f"wss://127.0.0.1:{port}/", trusting)
    assert resumed == [False, False, False]
    assert tls_counts(plane) == (3, 0)


async def test_a_server_that_gives_no_tickets(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """TLS 1.3 without tickets leaves nothing to offer."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    context.num_tickets = 0
    async with tls_server(lambda: context) as (port, resumed):
        for _ in range(2):
            await call(plane, f"wss://127.0.0.1:{port}/", trusting)
    assert (resumed, tls_counts(plane)) == ([False, False], (2, 0))


async def test_a_server_that_knows_sessions_by_number(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """TLS 1.2 before tickets: the server remembers, we say the number."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_TICKET
    async with tls_server(lambda: context) as (port, resumed):
        for _ in range(3):
            await call(plane, f"wss://127.0.0.1:{port}/", trusting)
    assert (resumed, tls_counts(plane)) == ([False, True, True], (3, 2))


@pytest.mark.parametrize("version", VERSIONS)
async def test_no_session_goes_to_another_name_or_trust(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """A resumed handshake checks no certificate: a name, or an authority, that was not checked must not profit."""
    context = server_context(authority, version)
    async with tls_server(lambda: context) as (port, resumed):
        await call(plane, f"wss://127.0.0.1:{port}/", trusting)
        await call(plane, f"wss://localhost:{port}/", trusting)
        with pytest.raises(DialFailed, match="Cert"):
            await plane.dial(f"wss://127.0.0.1:{port}/", Recorder(), ssl_context=ssl.create_default_context())
        assert tls_counts(plane) == (2, 0)
        await call(plane, f"wss://127.0.0.1:{port}/", trusting)
    assert tls_counts(plane) == (3, 1)
    assert not any(resumed[:-1])


async def test_a_server_that_hangs_up_on_what_is_offered(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """It costs one dial: the session is forgotten, and the next dial begins anew."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)

    async def drop(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    async with tls_server(lambda: context) as (port, resumed):
        url = f"wss://127.0.0.1:{port}/"
        await call(plane, url, trusting)
        assert len(plane._tls_sessions) == 1
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, drop, port, host="127.0.0.1"))
        with pytest.raises(DialFailed):
            await plane.dial(url, Recorder(), ssl_context=trusting)
        nursery.cancel_scope.cancel()
    await until(lambda: plane.statistics().sockets_now == 0)
    assert len(plane._tls_sessions) == 0
    assert resumed == [False]


def test_only_so_many_sessions_are_kept() -> None:
    """Who was dialled last stays."""
    sessions, context = TlsSessions(PlaneStatistics(), limit=2), ssl.create_default_context()
    some = [cast(ssl.SSLSession, object()) for _ in range(4)]
    places = [("host", port, context) for port in range(3)]
    for place, session in zip(places, some, strict=False):
        sessions.keep(place, session)
        sessions.keep(places[0], some[3])
    assert len(sessions) == 2
    assert [sessions.find(place) for place in places] == [some[3], None, some[2]]


async def test_much_at_once_and_the_end_behind_it(
    plane: MediaPlane, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """More messages than one turn takes, a ping, a close frame and TLS's own end, all in one read: nothing is lost."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    frames = [Frame(Opcode.TEXT, b"%d" % number) for number in range(300)]
    frames += [Frame(Opcode.PING, b""), Frame(Opcode.TEXT, b"last"), Frame(Opcode.CLOSE, b"\x0f\xa1bye")]

    async def handle(stream: trio.SocketStream) -> None:
        await say_all_at_once(stream.socket, context, b"".join(frame.serialize(mask=False) for frame in frames))

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        heard = Recorder()
        url = f"wss://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        await plane.dial(url, heard, ssl_context=trusting, timeout_s=PATIENCE_S)
        await until(lambda: heard.closings)
        nursery.cancel_scope.cancel()
    assert heard.texts == [b"%d" % number for number in range(300)] + [b"last"]
    assert heard.closings == [(4001, "bye")]


async def say_all_at_once(sock: trio.socket.SocketType, context: ssl.SSLContext, data: bytes) -> None:
    """A TLS server by hand: it upgrades, then sends `data` and TLS's end in one write."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls, protocol = context.wrap_bio(incoming, outgoing, server_side=True), ServerProtocol()
    is_shaken = False
    while True:
        incoming.write(await sock.recv(65_536))
        try:
            if not is_shaken:
                tls.do_handshake()
                is_shaken = True
            protocol.receive_data(tls.read(65_536))
            break
        except ssl.SSLWantReadError:
            await sock.send(outgoing.read())
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    tls.write(b"".join(protocol.data_to_send()) + data)
    with pytest.raises(ssl.SSLWantReadError):  # it has written its end and would wait for the client's
        tls.unwrap()
    everything = outgoing.read()
    assert await sock.send(everything) == len(everything)
    sock.shutdown(socket.SHUT_WR)
    with trio.move_on_after(PATIENCE_S):
        while await sock.recv(65_536):
            pass
