"""The real service on a real port, and clients whose every answer is held against its OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h11
import httpx
import jsonschema_rs
import trio

from tests.web.doors import NOBODY, SECRET, TOKEN
from web.agents import example, load_agent
from web.api.peers import Networks
from web.front_door import listen
from web.serve import serve_calls
from web.settings import Settings

OPERATOR, VIEWER = "operator-key-0123456789", "ann:viewer-key-0123456789"


@dataclass
class Service:
    """A running service."""

    url: str
    data: Path
    document: Mapping[str, Any]
    stop: trio.Event
    checked: set[tuple[str, str, int]] = field(default_factory=set)

    @asynccontextmanager
    async def client(self, key: str = "", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A program's client; with a key it says so."""
        given = {"Authorization": f"Bearer {key}", **headers} if key else headers
        hooks = {"response": [self.check]}
        async with httpx.AsyncClient(base_url=self.url, headers=given, event_hooks=hooks, timeout=10) as client:
            yield client

    async def check(self, response: httpx.Response) -> None:
        """The answer is as the document says."""
        path, method = response.request.url.path, response.request.method.lower()
        if not path.startswith("/api/") or method == "head":
            return
        for template, operations in self.document["paths"].items():
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method in operations:
                self._check(response, template, method, operations[method])
                return
        assert response.status_code in (404, 405), (method, path, "is not in the document")

    def _check(self, response: httpx.Response, template: str, method: str, operation: Mapping[str, Any]) -> None:
        told = operation["responses"].get(str(response.status_code))
        assert told is not None, f"{method} {template} → {response.status_code} is not in the document"
        self.checked.add((method, template, response.status_code))
        kind = response.headers.get("content-type", "").partition(";")[0]
        content = told.get("content", {})
        assert kind in content or not content, f"{method} {template} → {kind}, not {[*content]}"
        assert response.headers["x-content-type-options"] == "nosniff"
        self._pending(response, content.get(kind, {}).get("schema"))

    def _pending(self, response: httpx.Response, schema: Any) -> None:
        if schema is None or schema.get("type") == "string":
            return
        response.extensions["schema"] = schema

    def validate(self, response: httpx.Response) -> Any:
        """Its body, which fits the schema that the document has for it."""
        found = response.json()
        schema = {**response.extensions["schema"], "components": self.document["components"]}
        problems = [str(one) for one in jsonschema_rs.validator_for(schema).iter_errors(found)]
        assert problems == [], problems
        return found


@asynccontextmanager
async def open_service(
    data: Path,
    *,
    public_url: str = "",
    operator_keys: tuple[str, ...] = (),
    viewer_keys: tuple[str, ...] = (),
    trusted_proxies: Networks = (),
) -> AsyncIterator[Service]:
    """The service; on loopback and open, unless told otherwise."""
    listeners = await listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    settings = Settings(
        public_url=public_url or url,
        twilio_account_sid="AC" + "1" * 32,
        twilio_auth_token=TOKEN,
        vapi_api_key="key",
        vapi_server_secret=SECRET,
        vapi_base_url=NOBODY,
        twilio_base_url=NOBODY,
        data=data,
        operator_keys=operator_keys,
        viewer_keys=viewer_keys,
        trusted_proxies=tuple(trusted_proxies),
    )
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        run = partial(serve_calls, settings, load_agent(example()), listeners, drain_patience_s=0.0, stop=stop)
        await nursery.start(run)
        async with httpx.AsyncClient(timeout=10) as http:
            document = (await http.get(url + "/openapi.json")).json()
        yield Service(url, data, document, stop)
        stop.set()


@dataclass
class Event:
    name: str
    data: Any
    id: str | None


class EventClient:
    """Reads a stream on a socket of its own, as a browser does; `receive_buffer` makes it slow."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream, self._http = stream, h11.Connection(h11.CLIENT)
        self._came = b""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, target: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[EventClient]:
        host, _, port = url.removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            client = cls(stream)
            given = {"Host": f"{host}:{port}", "Accept": "text/event-stream", **(headers or {})}
            await stream.send_all(client._http.send(h11.Request(method="GET", target=target, headers=[*given.items()])))
            await stream.send_all(client._http.send(h11.EndOfMessage()))
            response = await client._next()
            assert isinstance(response, h11.Response) and response.status_code == 200, response
            assert dict(response.headers)[b"content-type"].startswith(b"text/event-stream")
            yield client

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some(65_536))
        return event  # type: ignore[return-value]

    async def event(self) -> Event | None:
        """The next event; None at the end (HTML standard, section 9.2.6)."""
        while True:
            block, end, rest = self._came.partition(b"\n\n")
            if not end:
                told = await self._next()
                if not isinstance(told, h11.Data):
                    return None
                self._came += told.data
                continue
            self._came = rest
            lines = [line for line in block.decode().split("\n") if line and not line.startswith(":")]
            fields = dict(line.split(": ", 1) for line in lines)
            if "data" in fields:
                return Event(fields["event"], json.loads(fields["data"]), fields.get("id"))

    async def events(self, count: int) -> list[Event]:
        found = [await self.event() for _ in range(count)]
        return [event for event in found if event is not None]
