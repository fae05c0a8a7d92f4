"""Every way in which a dial can go wrong, and that it then leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from websockets.utils import accept_key

from actors.media import DialFailed, MediaPlane
from actors.ports import Refusal, Upgrade
from tests.actors.media.harness import Recorder, echo, open_door, until


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """A server that reads a request and says just this (None: nothing, for ever). Gives its address."""

    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if answer is not None:
            await stream.send_all(answer)
        else:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/secret-path"
        nursery.cancel_scope.cancel()


ACCEPT_OF_ANOTHER_KEY = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the server answered 404", 404),
        (b"HTTP/1.1 503 Busy\r\n\r\nplease wait", "the server answered 503", 503),
        (b"", "the peer closed the connection", None),
        (b"HTTP/1.1 101 Swi", "the peer closed the connection", None),
        (b"220 smtp.example.com ESMTP\r\n\r\n", "the answer is not HTTP", None),
        (b"HTTP/1.1 200\r\n\r\n", "the server answered 200", 200),
        (b"HTTP/1.1 101 x\r\n" + b"X: y\r\n" * 5000, "the answer's head is too long", None),
        (ACCEPT_OF_ANOTHER_KEY, "not a websocket answer: InvalidHeaderValue", 101),
        (ACCEPT_OF_ANOTHER_KEY.replace(b"Upgrade: websocket\r\n", b""), "not a websocket answer: InvalidUpgrade", 101),
    ],
)
async def test_a_wrong_answer(plane: MediaPlane, answer: bytes, reason: str, status: int | None) -> None:
    """The error says what the server did, as a fact to act on, and never the address."""
    heard = Recorder()
    async with answering(answer) as url:
        with pytest.raises(DialFailed) as failed:
            await plane.dial(url, heard, timeout_s=5)
    assert (failed.value.reason, failed.value.status) == (reason, status)
    assert isinstance(failed.value, ConnectionError)
    assert "secret" not in repr(failed.value)
    assert (heard.opened, heard.closings) == (0, [])
    await until(lambda: plane.statistics().sockets_now == 0)
    assert plane.statistics().handshakes_now == 0


async def test_a_server_that_never_answers(plane: MediaPlane) -> None:
    """The whole dial has one deadline."""
    async with answering(None) as url:
        began = trio.current_time()
        with pytest.raises(DialFailed, match=r"no answer within 0\.2 s"):
            await plane.dial(url, Recorder(), timeout_s=0.2)
        assert trio.current_time() - began < 2
        assert plane.statistics().sockets_now == 0


async def test_a_server_that_speaks_slowly(plane: MediaPlane) -> None:
    """A byte now and then does not stretch the deadline."""

    async def handle(stream: trio.SocketStream) -> None:
        for _ in range(200):
            await stream.send_all(b"H")
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        with pytest.raises(DialFailed, match="no answer"):
            await plane.dial(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", Recorder(), timeout_s=0.3)
        nursery.cancel_scope.cancel()


async def test_nobody_listens(plane: MediaPlane) -> None:
    """A refused connection says that it was refused."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(DialFailed, match="ConnectionRefusedError"):
            await plane.dial(f"ws://127.0.0.1:{reserved.getsockname()[1]}/", Recorder())


@pytest.mark.parametrize(
    "url", ["http://x/secret", "ws:///secret", "secret", "ws://x:99999999/secret", "ws://[x/secret"]
)
async def test_not_an_address(plane: MediaPlane, url: str) -> None:
    """A wrong address is a failed dial like any other."""
    with pytest.raises(DialFailed) as failed:
        await plane.dial(url, Recorder())
    assert "secret" not in str(failed.value)


async def test_a_tls_server_that_is_none(plane: MediaPlane) -> None:
    """wss to something that speaks plain HTTP."""
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(DialFailed, match="SSLError"):
            await plane.dial(url.replace("ws:", "wss:"), Recorder())
    await until(lambda: plane.statistics().sockets_now == 0)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_cancelled_dial_leaves_nothing(plane: MediaPlane, scheme: str) -> None:
    """Whoever stops waiting stops the dial."""
    async with answering(None) as url, trio.open_nursery() as nursery:
        heard = Recorder()
        nursery.start_soon(plane.dial, url.replace("ws", scheme), heard)
        await until(lambda: plane.statistics().handshakes_now == 1)
        nursery.cancel_scope.cancel()
    assert plane.statistics().handshakes_now == 0
    assert plane.statistics().sockets_now == 0
    assert (heard.opened, heard.closings) == (0, [])


async def test_a_dial_that_is_cancelled_in_the_moment_it_succeeds(plane: MediaPlane) -> None:
    """The listener that heard `on_open` hears `on_closed`, and the socket is gone."""
    async with open_door(plane) as door:
        with trio.CancelScope() as scope:

            class Impatient(Recorder):
                def on_open(self, wire: object) -> None:
                    super().on_open(wire)  # type: ignore[arg-type]
                    scope.cancel()

            heard = Impatient()
            await plane.dial(door.url, heard)
        assert scope.cancelled_caught
        await until(lambda: heard.closings and door.last.closings)
        assert heard.opened == 1
        assert (heard.code, door.last.code) == (1006, 1006)


async def test_headers_and_address_arrive(plane: MediaPlane) -> None:
    """Our own headers are sent, the query too, and no extension is asked for."""
    async with open_door(plane, then=echo) as door:
        wire = await plane.dial(
            f"{door.url}?token=1", Recorder(), headers={"Authorization": "Bearer k", "Host": "v.ai"}
        )
        upgrade = door.upgrades[0]
        assert upgrade.path == "/media?token=1"
        assert upgrade.headers["authorization"] == "Bearer k"
        assert upgrade.headers["host"] == "v.ai"
        assert "sec-websocket-extensions" not in upgrade.headers
        assert "origin" not in upgrade.headers
        wire.abort()


async def test_whom_we_dialled_may_say_more(plane: MediaPlane) -> None:
    """Vapi's `conversation-update` grows with the call: 300 kB are a message from there, but not from outside."""
    async with open_door(plane) as door:
        heard = Recorder()
        await plane.dial(door.url, heard)
        door.last.wire.send_text(b"x" * 300_000)
        await until(lambda: heard.texts)
        assert len(heard.texts[0]) == 300_000
        heard.wire.send_text(b"x" * 70_000)
        await until(lambda: heard.closings and door.last.closings)
        assert (heard.code, door.last.code) == (1009, 1009)


async def test_a_refusal_tells_the_dialler(plane: MediaPlane) -> None:
    """Plane against plane: a 403 at one end is a status at the other."""

    def refuse(_: Upgrade) -> Refusal:
        return Refusal(403, "no")

    async with open_door(plane, doorkeeper=refuse) as door:
        with pytest.raises(DialFailed) as failed:
            await plane.dial(door.url, Recorder())
        assert failed.value.status == 403


async def test_dialled_wires_are_pinged() -> None:
    """A far end that answers is kept; one that does not is given up at the ping's deadline."""
    plane = MediaPlane(ping_interval_s=0.15, ping_timeout_s=0.4)
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, _upgrade_and_fall_silent, 0, host="127.0.0.1")
        )
        async with open_door(plane) as door:
            lively, silent = Recorder(), Recorder()
            await plane.dial(door.url, lively)
            await plane.dial(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", silent)
            began = trio.current_time()
            await until(lambda: silent.closings)
            assert silent.closings == [(1006, "the peer does not answer a ping")]
            assert 0.3 < trio.current_time() - began < 3
            assert lively.wire.is_open
            assert plane.statistics().stalled == 1
        nursery.cancel_scope.cancel()


async def _upgrade_and_fall_silent(stream: trio.SocketStream) -> None:
    """A server that upgrades properly and then reads, but never answers anything."""
    request = (await stream.receive_some()).decode()
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    answer = ACCEPT_OF_ANOTHER_KEY.decode().replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", accept_key(key))
    await stream.send_all(answer.encode())
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def test_dial_after_the_end() -> None:
    """A plane that has stopped says so, and turns sockets away."""
    plane = MediaPlane()
    with trio.CancelScope() as scope:
        scope.cancel()
        await plane.run()
    with pytest.raises(DialFailed, match="stopped"):
        await plane.dial("ws://127.0.0.1:1/", Recorder())
    ours, theirs = socket.socketpair()
    plane.adopt(ours, lambda _: Refusal(404), peer="x")
    assert ours.fileno() == -1
    theirs.close()
