"""A caller on a websocket of somebody else's making, and a server that receives webhooks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio_websocket
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from engine.audio import FRAME_BYTES, SILENCE_FRAME

SAMPLES = Path(__file__).parent.parent.parent / "samples" / "vapi"
KEY = "test-key"
AUTH = {"Authorization": f"Bearer {KEY}"}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


async def until(condition: Callable[[], Any], *, within_s: float = 5.0, what: str = "") -> Any:
    """Wait for a condition to be true, and return it."""
    with trio.move_on_after(within_s):
        while not (found := condition()):
            await trio.sleep(0.005)
        return found
    raise AssertionError(f"not within {within_s} s: {what or condition}")


class Caller:
    """One end of a call's socket: sends silence, or what it was given, each 20 ms; keeps what comes, and when."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._audio = bytearray()
        self.texts: list[tuple[float, dict[str, Any]]] = []
        self.audio: list[tuple[float, bytes]] = []
        self.is_sending = True
        self.closed: tuple[int, str] | None = None

    def say(self, mulaw: bytes) -> None:
        self._audio += mulaw

    async def send(self, **message: Any) -> None:
        await self._socket.send_message(json.dumps(message))

    async def send_raw(self, message: str) -> None:
        await self._socket.send_message(message)

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Text frames of a type with these fields."""
        return [
            frame
            for _, frame in self.texts
            if frame["type"] == kind and all(frame.get(k) == v for k, v in fields.items())
        ]

    def when(self, kind: str, **fields: Any) -> float:
        wanted = self.of(kind, **fields)[0]
        return next(at for at, frame in self.texts if frame is wanted)

    async def heard(self, kind: str, *, within_s: float = 5.0, **fields: Any) -> dict[str, Any]:
        what = f"{kind} {fields}"
        await until(lambda: self.of(kind, **fields) or self.closed, within_s=within_s, what=f"{what} in {self.texts}")
        found = self.of(kind, **fields)
        assert found, f"closed with {self.closed} without {what}: {self.texts}"
        return found[0]

    async def is_closed(self, within_s: float = 5.0) -> tuple[int, str]:
        await until(lambda: self.closed, within_s=within_s, what="closed")
        assert self.closed is not None
        return self.closed

    async def run_sending(self) -> None:
        due = trio.current_time()
        try:
            while self.closed is None:
                if self.is_sending:
                    frame = bytes(self._audio[:FRAME_BYTES]) or SILENCE_FRAME
                    del self._audio[:FRAME_BYTES]
                    await self._socket.send_message(frame.ljust(FRAME_BYTES, b"\xff"))
                due += 0.020
                await trio.sleep_until(due)
        except trio_websocket.ConnectionClosed:
            pass

    async def run_receiving(self) -> None:
        try:
            while True:
                message = await self._socket.get_message()
                now = trio.current_time()
                if isinstance(message, str):
                    self.texts.append((now, json.loads(message)))
                else:
                    self.audio.append((now, message))
        except trio_websocket.ConnectionClosed as closed:
            self.closed = (closed.reason.code, closed.reason.reason or "") if closed.reason else (1006, "")


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    """A call through trio-websocket, on a stream of ours: its own clean-up can hang (stack.md A.3 no. 13, 14)."""
    host, _, path = url.removeprefix("ws://").partition("/")
    name, _, port = host.partition(":")
    stream = await trio.open_tcp_stream(name, int(port))
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(5):
                socket = await trio_websocket.wrap_client_stream(nursery, stream, host, f"/{path}")
            caller = Caller(socket)
            nursery.start_soon(caller.run_receiving)
            nursery.start_soon(caller.run_sending)
            yield caller
            with trio.move_on_after(1):
                await socket.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@dataclass
class Hook:
    headers: dict[str, str]
    raw: bytes
    at: float

    @property
    def message(self) -> dict[str, Any]:
        return dict(json.loads(self.raw)["message"])

    @property
    def kind(self) -> str:
        return str(self.message["type"])


Answering = Callable[[Hook], Any]


@dataclass
class HookServer:
    """Receives webhooks. `answer` may give a body, a (status, body), or a coroutine of either."""

    url: str = ""
    hooks: list[Hook] = field(default_factory=list)
    answer: Answering = lambda _: {}

    def of(self, kind: str) -> list[Hook]:
        return [one for one in self.hooks if one.kind == kind]

    async def got(self, kind: str, within_s: float = 5.0) -> Hook:
        found = await until(lambda: self.of(kind), within_s=within_s, what=f"webhook {kind}")
        return found[0]  # type: ignore[no-any-return]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        app = QuartTrio("hooks")

        @app.post("/hook")
        async def hook() -> Response:
            raw = await request.get_data(as_text=False)
            assert isinstance(raw, bytes)
            kept = Hook({name.lower(): text for name, text in request.headers.items()}, raw, trio.current_time())
            self.hooks.append(kept)
            given = self.answer(kept)
            if hasattr(given, "__await__"):
                given = await given
            status, body = given if isinstance(given, tuple) else (200, given)
            return Response(json.dumps(body), status, content_type="application/json")

        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.graceful_timeout = 0.2
        async with trio.open_nursery() as nursery:
            binds = await nursery.start(partial(serve, app, config, shutdown_trigger=trio.sleep_forever))
            self.url = f"{binds[0]}/hook"
            task_status.started()
