"""The plane against other people's websockets, both ways, over real sockets."""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trustme
import websockets.exceptions
import websockets.sync.client as threaded_client
import websockets.sync.server as threaded_server
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

from actors.media import DialFailed, MediaPlane
from tests.actors.media.harness import Recorder, echo, open_door, until

SIZES = (0, 1, 125, 126, 127, 400, 8_000, 65_535)


@asynccontextmanager
async def running(*, in_place: bool = True) -> AsyncIterator[MediaPlane]:
    plane = MediaPlane(in_place=in_place, close_timeout_s=0.5)
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        yield plane
        nursery.cancel_scope.cancel()


async def test_trio_websocket_calls_us(in_place: bool) -> None:
    """A third-party client hears back whatever it says, text and binary, of every length form."""
    async with running(in_place=in_place) as plane, open_door(plane, then=echo) as door:
        async with open_websocket_url(door.url) as client:
            for size in SIZES:
                for message in ("é" * (size // 2), b"\xff" * size):
                    if not message:
                        continue  # an empty message is trio-websocket's own trap
                    await client.send_message(message)
                    assert await client.get_message() == message
            await client.ping(b"are you there")
        await until(lambda: door.last.closings)
        assert door.last.closings == [(1000, "")]


async def test_websockets_calls_us(in_place: bool) -> None:
    """The same with a client that offers compression (refused), pings, and closes with words."""
    async with running(in_place=in_place) as plane, open_door(plane, then=echo) as door:

        def call() -> None:
            with threaded_client.connect(door.url, compression="deflate") as client:
                assert not client.protocol.extensions
                for size in SIZES:
                    for message in ("x" * size, b"\x00" * size):
                        client.send(message)
                        assert client.recv(timeout=5) == message
                client.send(["frag", "ment", "ed"])
                assert client.recv(timeout=5) == "fragmented"
                assert client.ping().wait(5)
                client.close(4321, "enough")

        await trio.to_thread.run_sync(call)
        await until(lambda: door.last.closings)
        assert door.last.closings == [(4321, "enough")]


async def test_we_close_and_the_client_reads_why(plane: MediaPlane) -> None:
    """Our code and reason arrive, and what was queued before them too."""

    def hang_up(recorder: Recorder, _: bytes) -> None:
        recorder.wire.send_text(b"last words")
        recorder.wire.close(1012, "restarting")
        recorder.wire.send_text(b"never")
        assert not recorder.wire.is_open

    async with open_door(plane, then=hang_up) as door:

        def call() -> tuple[str | bytes, int, str]:
            with threaded_client.connect(door.url) as client:
                client.send("hello")
                last = client.recv(timeout=5)
                with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                    client.recv(timeout=5)
                assert closed.value.rcvd is not None
                return last, closed.value.rcvd.code, closed.value.rcvd.reason

        assert await trio.to_thread.run_sync(call) == ("last words", 1012, "restarting")
        await until(lambda: door.last.closings)
        assert door.last.closings == [(1012, "restarting")]


async def _trio_websocket_server(request: WebSocketRequest) -> None:
    try:
        connection = await request.accept()
        while True:
            message = await connection.get_message()
            if message == "close":
                await connection.aclose(4000, "as you wish")
            await connection.send_message(message)
    except ConnectionClosed:
        pass


async def test_we_dial_trio_websocket(in_place: bool) -> None:
    """Dial, talk, be closed: the code and reason of the far end come through."""
    async with running(in_place=in_place) as plane, trio.open_nursery() as nursery:
        server = await nursery.start(_serve_trio_websocket)
        heard = Recorder()
        wire = await plane.dial(f"ws://127.0.0.1:{server}/", heard)
        assert wire.is_open
        assert heard.opened == 1
        for size in SIZES[1:]:
            wire.send_binary(b"\x7f" * size, audio_ms=20)
        wire.send_text("grüße".encode())
        await until(lambda: heard.texts and len(heard.binaries) == len(SIZES) - 1)
        assert [len(payload) for payload in heard.binaries] == list(SIZES[1:])
        assert heard.texts == ["grüße".encode()]
        wire.send_text(b"close")
        await until(lambda: heard.closings)
        assert heard.closings == [(4000, "as you wish")]
        nursery.cancel_scope.cancel()


async def _serve_trio_websocket(*, task_status: trio.TaskStatus[int]) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, _trio_websocket_server, "127.0.0.1", 0, None)
        task_status.started(server.port)


@contextmanager
def websockets_server(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """An echo of the `websockets` package in a thread; it remembers nothing. Gives the port."""

    def handle(connection: threaded_server.ServerConnection) -> None:
        try:
            for message in connection:
                connection.send(message)
        except websockets.exceptions.ConnectionClosed:
            pass

    with threaded_server.serve(handle, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


async def test_we_dial_websockets(plane: MediaPlane) -> None:
    """A server that offers compression gets none, and our own closing is answered."""
    with websockets_server() as port:
        heard = Recorder()
        wire = await plane.dial(f"ws://127.0.0.1:{port}/secret?x=1", heard, headers={"Authorization": "Bearer k"})
        wire.send_text(b"hello")
        wire.send_binary(b"")
        await until(lambda: heard.texts and heard.binaries)
        assert (heard.texts, heard.binaries) == ([b"hello"], [b""])
        wire.close(1000, "done")
        await until(lambda: heard.closings)
        assert heard.closings == [(1000, "done")]
    await until(lambda: plane.statistics().sockets_now == 0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def _client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_we_dial_over_tls(plane: MediaPlane, authority: trustme.CA, version: ssl.TLSVersion) -> None:
    """wss: more than one TLS record each way, and a clean end."""
    context = _client_context(authority)
    context.maximum_version = version
    with websockets_server(_server_context(authority, "127.0.0.1")) as port:
        heard = Recorder()
        wire = await plane.dial(f"wss://127.0.0.1:{port}/", heard, ssl_context=context)
        for size in SIZES:
            wire.send_binary(bytes(size))
        await until(lambda: len(heard.binaries) == len(SIZES))
        assert [len(payload) for payload in heard.binaries] == list(SIZES)
        wire.close(1000)
        await until(lambda: heard.closings)
        assert heard.code == 1000
    await until(lambda: plane.statistics().sockets_now == 0)


async def test_a_certificate_that_nobody_vouches_for(plane: MediaPlane, authority: trustme.CA) -> None:
    """An unknown authority and a wrong name are refused, and the reason says so without the address."""
    heard = Recorder()
    failed = pytest.raises(DialFailed, match="Cert")
    with websockets_server(_server_context(authority, "127.0.0.1")) as port, failed:
        await plane.dial(f"wss://127.0.0.1:{port}/secret", heard)
    with websockets_server(_server_context(authority, "elsewhere.example")) as port, failed as why:
        await plane.dial(f"wss://127.0.0.1:{port}/secret", heard, ssl_context=_client_context(authority))
    assert "secret" not in str(why.value)
    assert (heard.opened, heard.closings) == (0, [])
    await until(lambda: plane.statistics().sockets_now == 0)
