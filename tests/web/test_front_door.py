"""One port for everything: HTTP to the app, `/media` to the plane, and no connection harms another."""

from __future__ import annotations

import errno
import gc
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from quart import ResponseReturnValue, request
from quart_trio import QuartTrio
from structlog.testing import CapturingLogger
from websockets.frames import Opcode

import web.front_door
from actors.media import MediaPlane
from tests.actors.media.harness import PATIENCE_S, REQUEST, BareClient, Recorder, echo, frame, until
from web.front_door import listen, serve


def is_media(head: bytes) -> bool:
    return head.startswith((b"GET /media ", b"GET /media/", b"GET /media?"))


@dataclass
class House:
    """A whole server in one process."""

    port: int
    plane: MediaPlane
    stop: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)
    ears: list[Recorder] = field(default_factory=list)
    life: list[str] = field(default_factory=list)
    held: trio.Event = field(default_factory=trio.Event)
    guests: list[BareClient] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self) -> BareClient:
        """A bare connection; the house closes it at the end, if the test did not."""
        self.guests.append(BareClient(await trio.open_tcp_stream("127.0.0.1", self.port)))
        return self.guests[-1]

    async def get(self, path: str = "/health") -> int:
        async with httpx.AsyncClient() as client:
            return (await client.get(self.url + path)).status_code


def app_of(house: House) -> QuartTrio:
    app = QuartTrio("house")

    @app.before_serving
    async def start() -> None:
        house.life.append("start")

    @app.after_serving
    async def end() -> None:
        house.life.append("end")

    @app.get("/health")
    async def health() -> ResponseReturnValue:
        return {"ok": True}

    @app.post("/echo")
    async def say() -> ResponseReturnValue:
        return await request.get_data()

    @app.get("/slow")
    async def slow() -> ResponseReturnValue:
        house.held.set()
        await trio.sleep(0.3)
        return "at last"

    @app.get("/endless")
    async def endless() -> ResponseReturnValue:
        house.held.set()
        with trio.move_on_after(60):
            await trio.sleep_forever()
        return "never"

    @app.get("/huge")
    async def huge() -> ResponseReturnValue:
        house.held.set()
        return b"x" * 50_000_000

    return app


@asynccontextmanager
async def open_house(
    *,
    graceful_s: float = 3.0,
    keep_alive_s: float = 5.0,
    wrap: Callable[[Any], Any] = lambda app: app,
    choose: Callable[[bytes], bool] = is_media,
    fd: int | None = None,
) -> AsyncIterator[House]:
    listeners = await listen("127.0.0.1", 0, fd=fd)
    house = House(listeners[0].socket.getsockname()[1], MediaPlane())

    def let_in(_: object) -> Recorder:
        house.ears.append(Recorder(echo))
        return house.ears[-1]

    config = Config()
    config.errorlog = None
    config.keep_alive_timeout = keep_alive_s
    run = partial(
        serve,
        wrap(app_of(house)),
        listeners,
        plane=house.plane,
        doorkeeper=let_in,
        is_media=choose,
        shutdown_trigger=house.stop.wait,
        graceful_s=graceful_s,
        hypercorn_config=config,
    )

    async def run_and_tell(*, task_status: trio.TaskStatus[None]) -> None:
        await run(task_status=task_status)
        house.over.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(house.plane.run)
        await nursery.start(run_and_tell)
        try:
            yield house
            house.stop.set()
            with trio.fail_after(PATIENCE_S):
                await house.over.wait()
        finally:
            for guest in house.guests:
                guest.socket.close()
        nursery.cancel_scope.cancel()


async def test_both_kinds_on_one_port() -> None:
    """HTTP gets its answers and a media socket its echo, at the same time, through the same port."""
    async with open_house() as house:
        assert house.life == ["start"]
        media = await house.connect()
        await media.upgrade()
        async with httpx.AsyncClient() as client:
            for size in (0, 1, 100_000):
                answer = await client.post(house.url + "/echo", content=b"x" * size)
                assert (answer.status_code, len(answer.content)) == (200, size)
            await media.send(Opcode.TEXT, b"hello")
            await media.read_until(b"hello")
        assert await house.get("/nothing-here") == 404
        await trio.aclose_forcefully(media.stream)
        await until(lambda: house.ears[0].closings)
    assert house.life == ["start", "end"]


@pytest.mark.parametrize("step", [1, 3, 11, 12, 40])
async def test_a_request_that_comes_in_pieces(step: int) -> None:
    """The choice waits for enough of the request line; nothing is lost by looking."""
    async with open_house() as house:
        media = await house.connect()
        for at in range(0, 120, step):
            await media.stream.send_all(REQUEST[at : min(at + step, 120)])
            await trio.sleep(0.001)
        await media.stream.send_all(REQUEST[120:] + frame(Opcode.TEXT, b"eager"))
        await media.read_until(b"\r\n\r\n")
        await media.read_until(b"eager")

        http = await house.connect()
        for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            await http.stream.send_all(bytes([byte]))
        assert (await http.read_to_end()).startswith(b"HTTP/1.1 200")


async def test_what_shows_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence, half a request line, half a line and then the end: none of them keeps a connection."""
    monkeypatch.setattr(web.front_door, "SHOW_YOURSELF_S", 0.3)
    async with open_house() as house:
        silent, half, ended = [await house.connect() for _ in range(3)]
        await half.stream.send_all(b"GET /me")
        await ended.stream.send_all(b"GET /me")
        await ended.stream.send_eof()
        for client in (silent, half, ended):
            assert await client.read_to_end() == b""
        assert await house.get() == 200


async def test_the_oldest_of_the_silent_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many silent connections cannot lock the door for the others."""
    monkeypatch.setattr(web.front_door, "MAX_UNSHOWN", 3)
    async with open_house() as house:
        silent = [await house.connect() for _ in range(8)]
        assert await house.get() == 200
        for client in silent[:5]:
            assert await client.read_to_end() == b""
        await silent[-1].stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await silent[-1].read_to_end()).startswith(b"HTTP/1.1 200")


async def test_rubbish_gets_an_answer_or_an_end() -> None:
    """TLS on a plain port, binary noise, a reset: the next visitor is served as ever."""
    async with open_house() as house:
        for rubbish in (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100), b"\x00" * 70, b"\n\n\n\n" * 40, b"GET\r\n\r\n"):
            client = await house.connect()
            await client.stream.send_all(rubbish)
            await client.stream.send_eof()
            await client.read_to_end()
        assert await house.get() == 200


async def test_an_app_that_fails_in_one_connection() -> None:
    """An exception out of the app itself, below Quart's own net, ends that request only."""

    def wrap(app: Any) -> Any:
        async def brittle(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == "/burst":
                raise ExceptionGroup("two", [ValueError(), KeyError()])
            await app(scope, receive, send)

        return brittle

    async with open_house(wrap=wrap) as house:
        assert await house.get("/burst") == 500
        assert await house.get() == 200


async def test_a_chooser_that_fails() -> None:
    """Even our own mistake at the door costs one connection only."""

    def trip(head: bytes) -> bool:
        if head.startswith(b"GET /trip"):
            raise ZeroDivisionError
        return is_media(head)

    async with open_house(choose=trip) as house:
        client = await house.connect()
        await client.stream.send_all(b"GET /trip HTTP/1.1\r\n\r\n")
        assert await client.read_to_end() == b""
        assert await house.get() == 200


async def test_requests_finish_in_the_grace() -> None:
    """At the end no new connection is taken, a running request gets its answer, and the plane's wires live on."""
    async with open_house() as house:
        media = await house.connect()
        await media.upgrade()
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await house.get("/slow"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await house.held.wait()
            house.stop.set()
            await trio.sleep(0.05)
            with pytest.raises(OSError):
                await house.connect()
        assert answers == [200]
        with trio.fail_after(PATIENCE_S):
            await house.over.wait()
        assert house.life == ["start", "end"]
        await media.send(Opcode.TEXT, b"still talking")
        await media.read_until(b"still talking")
        await trio.aclose_forcefully(media.stream)


async def test_idle_connections_do_not_hold_the_end_up() -> None:
    """Keep-alive and silent connections go at once, not after the grace."""
    async with open_house(graceful_s=30) as house, httpx.AsyncClient() as client:
        await client.get(house.url + "/health")
        await house.connect()
        await trio.sleep(0.05)
        house.stop.set()
        with trio.fail_after(5):
            await house.over.wait()


async def test_an_idle_connection_times_out_after_its_request() -> None:
    """The keep-alive timer runs after the first answer too, and `Connection: close` is kept (see the cure)."""
    async with open_house(keep_alive_s=0.2) as house:
        for wish in (b"keep-alive", b"close"):
            client = await house.connect()
            await client.stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n" % wish)
            with trio.fail_after(3):
                assert (await client.read_to_end()).startswith(b"HTTP/1.1 200")


async def test_a_connection_that_is_over_is_freed_at_once() -> None:
    """By reference counts alone: what waits for the collector is memory that grows with every call."""

    def alive() -> int:
        return sum(isinstance(one, (TCPServer, H11Protocol)) for one in gc.get_objects())

    async with open_house() as house:
        assert await house.get() == 200
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                assert await house.get() == 200
            await until(lambda: alive() <= 1)  # the last may still be closing
        finally:
            gc.enable()


@pytest.mark.parametrize("path", ["/endless", "/huge"])
async def test_what_does_not_finish_is_cut(path: str) -> None:
    """A handler without end, and a peer that does not read its answer (Hypercorn shields that send), are cut."""
    async with open_house(graceful_s=0.2) as house:
        client = await house.connect()
        await client.stream.send_all(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        await house.held.wait()
        await trio.sleep(0.05)
        house.stop.set()
        with trio.fail_after(5):
            await house.over.wait()
        assert house.life == ["start", "end"]


async def test_an_inherited_socket() -> None:
    """A parent's listening descriptor is served as it is; one that does not listen yet is made to."""
    for listening in (True, False):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        if listening:
            sock.listen()
        port = sock.getsockname()[1]
        async with open_house(fd=sock.detach()) as house:
            assert house.port == port
            assert await house.get() == 200


async def test_options_of_an_accepted_socket() -> None:
    """What is set on the listening socket holds for the accepted ones: the kernel notices a peer that has gone."""
    (listener,) = await listen("127.0.0.1", 0)
    client = await trio.open_tcp_stream(*listener.socket.getsockname())
    accepted = await listener.accept()
    assert accepted.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert accepted.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    for opened in (client, accepted, listener):
        await opened.aclose()


async def test_a_taken_port() -> None:
    """The error is the system's own."""
    (listener,) = await listen("127.0.0.1", 0)
    with pytest.raises(OSError) as failed:
        await listen("127.0.0.1", listener.socket.getsockname()[1])
    assert failed.value.errno == errno.EADDRINUSE
    await listener.aclose()


async def test_out_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more connection can be opened: one line in the log, no spinning, and service again afterwards."""
    monkeypatch.setattr(web.front_door, "log", book := CapturingLogger())
    async with open_house() as house:
        early = await house.connect()
        await early.stream.send_all(b"GET /health HTTP/1.1\r\n")
        waiting = socket.socket()
        waiting.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        hoard: list[int] = []
        try:
            while True:
                try:
                    hoard.append(os.dup(0))
                except OSError:
                    break
            with pytest.raises(BlockingIOError):
                waiting.connect(("127.0.0.1", house.port))
            await trio.sleep(0.35)
            await early.stream.send_all(b"Host: x\r\nConnection: close\r\n\r\n")
            assert (await early.read_to_end()).startswith(b"HTTP/1.1 200")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in hoard:
                os.close(fd)
        assert await house.get() == 200
        waiting.close()
    assert [(call.args, call.kwargs["error"]) for call in book.calls] == [(("door.cannot_accept",), "EMFILE")]


async def test_start_up_that_fails() -> None:
    """An app that cannot start is an error of `serve`, not a server that answers nothing."""

    async def stillborn(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(ExceptionGroup) as failed:
        async with open_house(wrap=lambda _: stillborn):
            raise AssertionError("it started")
    assert "startup" in repr(failed.value.exceptions)
