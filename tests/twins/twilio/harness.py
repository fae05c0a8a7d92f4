"""A Twilio twin in the test's nursery, and the server that it talks to: webhooks by Quart, media by another library."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio
from twilio.request_validator import RequestValidator
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from engine.agent import CallerStep
from web.twins.twilio.app import serve_twin
from web.twins.twilio.settings import TwinSettings
from web.twins.twilio.twin import CallRequest, TwilioTwin

SID, TOKEN, NUMBER = "AC" + "1" * 32, "0123456789abcdef0123456789abcdef", "+12025550199"
TONE = (b"\x10" * 8 + b"\x90" * 8) * 50  # 100 ms, loud


def tone(text: str, *, voice: str = "en-US") -> bytes:
    """A voice that hums: 100 ms a word."""
    return TONE * len(text.split())


Hook = tuple[str, dict[str, str], bool]  # path, parameters, whether the signature was good
Talk = Callable[["MediaServer", ServerConnection], None]


class MediaServer:
    """The server under a stream, by `websockets`' threaded server: a client of the twin that we did not write."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.received: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.refuse = False
        self._server = serve_websockets(self._handle, "127.0.0.1", 0, process_request=self._check, compression=None)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/media"

    def __enter__(self) -> MediaServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join(5)

    def _check(self, connection: ServerConnection, asked: Any) -> Any:
        self.headers = {name.lower(): value for name, value in asked.headers.raw_items()}
        return connection.respond(403, "no\n") if self.refuse else None

    def _handle(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            self.talk(self, connection)

    def read(self, connection: ServerConnection, *, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read messages until one is as wanted, five seconds at most each."""
        while True:
            message: dict[str, Any] = json.loads(connection.recv(timeout=5))
            self.received.append(message)
            if until(message):
                return message


def is_event(event: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["event"] == event


@dataclass
class World:
    """The twin, and what it asked of the server."""

    twin: TwilioTwin
    url: str
    server_url: str
    http: httpx.AsyncClient
    hooks: list[Hook] = field(default_factory=list)
    twiml: dict[str, str | Callable[[], str]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.hooks]

    async def ring(self, *script: CallerStep, voice_url: str = "/voice") -> dict[str, Any]:
        """A scripted caller phones; what the twin knows once the call is over."""
        number = self.twin.numbers[NUMBER]
        number.voice_url = self.server_url + voice_url
        number.status_callback = self.server_url + "/status"
        steps = list(script) or [CallerStep(wait_for_end=True, after="now")]
        call = self.twin.ring(CallRequest(from_number="+12025550123", to_number=NUMBER, script=steps))
        with trio.fail_after(30):
            await call.ended.wait()
        await self.told("/status")
        return call.story()

    async def told(self, path: str) -> None:
        """Wait until a callback has come."""
        with trio.fail_after(5):
            while path not in self.paths():
                await trio.sleep(0.01)


@asynccontextmanager
async def open_world(**settings: Any) -> AsyncIterator[World]:
    """A twin and a server for its webhooks, both on loopback."""
    app = QuartTrio("server")
    async with httpx.AsyncClient(timeout=10) as http, trio.open_nursery() as nursery:
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = config.accesslog = None
        config.keep_alive_timeout = 60
        server = partial(serve, app, config, shutdown_trigger=trio.sleep_forever)
        bound = await nursery.start(server)
        options = {"ring_s": 0.02, "speak": tone, **settings}
        url, twin = await nursery.start(partial(serve_twin, TwinSettings(SID, TOKEN, (NUMBER,), **options)))
        world = World(twin, url, bound[0], http)

        @app.route("/<path:path>", methods=["GET", "POST"])
        async def hook(path: str) -> Response:
            form = await request.form
            params = {name: str(form[name]) for name in form}
            given = request.headers.get("X-Twilio-Signature", "")
            good = RequestValidator(TOKEN).validate(f"{bound[0]}/{path}", params, given)
            world.hooks.append((f"/{path}", params, good))
            if f"/{path}" in world.hang:
                await trio.sleep_forever()
            twiml = world.twiml.get(f"/{path}", "<Response/>")
            text = twiml if isinstance(twiml, str) else twiml()
            return Response(text, world.status.get(f"/{path}", 200), content_type="text/xml")

        yield world
        nursery.cancel_scope.cancel()


def stream_twiml(media_url: str, *, action: str = "/next", after: str = "") -> str:
    """TwiML that connects a stream."""
    attribute = f' action="{action}"' if action else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Response><Connect{attribute}>'
        f'<Stream url="{media_url}" statusCallback="{{server}}/stream"><Parameter name="token" value="abc"/></Stream>'
        f"</Connect>{after}</Response>"
    )
