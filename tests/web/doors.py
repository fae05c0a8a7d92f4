"""A real service in the test's own process: real sockets, no vendors behind it unless a test brings them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import httpx
import trio
from twilio.request_validator import RequestValidator

from web.agents import example, load_agent
from web.front_door import listen
from web.serve import serve_calls
from web.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef"
SECRET = "a shared secret"
PUBLIC_URL = "https://calls.example.com"
MEDIA_URL = "wss://calls.example.com/media"
CALL = {"CallSid": "CA" + "2" * 32, "AccountSid": "AC" + "1" * 32, "From": "+12025550123", "To": "+12025550199",
        "Direction": "inbound", "ApiVersion": "2010-04-01"}  # fmt: skip
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@dataclass
class Door:
    """How a test reaches the service."""

    port: int
    http: httpx.AsyncClient
    data: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def twilio(self, path: str, token: str = TOKEN, **params: str) -> httpx.Response:
        """A webhook as Twilio sends it, signed by Twilio's own validator for the public address."""
        signature = RequestValidator(token).compute_signature(PUBLIC_URL + path, params)
        headers = {
            "X-Twilio-Signature": signature,
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        }
        return await self.http.post(self.url + path, content=urlencode(params), headers=headers)

    async def vapi(self, body: bytes, **headers: str) -> httpx.Response:
        """A webhook as Vapi sends it, with the shared secret unless told otherwise."""
        given = headers or {"X-Vapi-Secret": SECRET}
        return await self.http.post(
            self.url + "/webhook/vapi", content=body, headers={"Content-Type": "application/json", **given}
        )

    async def metric(self, name: str) -> float:
        text = (await self.http.get(self.url + "/metrics")).text
        return float(next(line for line in text.splitlines() if line.startswith(f"callscope_{name} ")).split()[1])


@asynccontextmanager
async def open_door(data: Path, *, vapi_base_url: str = NOBODY, twilio_base_url: str = NOBODY) -> AsyncIterator[Door]:
    """The production service on a free port, its public address elsewhere, as behind a proxy."""
    settings = Settings(
        public_url=PUBLIC_URL,
        twilio_account_sid="AC" + "1" * 32,
        twilio_auth_token=TOKEN,
        vapi_api_key="key",
        vapi_server_secret=SECRET,
        vapi_server_bearer_token="a bearer token",
        vapi_server_hmac_secret="an hmac secret",
        vapi_base_url=vapi_base_url,
        twilio_base_url=twilio_base_url,
        data=data,
    )
    listeners = await listen("127.0.0.1", 0)
    port = listeners[0].socket.getsockname()[1]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        run = partial(serve_calls, settings, load_agent(example()), listeners, drain_patience_s=0.0, stop=stop)
        await nursery.start(run)
        async with httpx.AsyncClient(timeout=10) as http:
            door = Door(port, http, data)
            yield door
            await door.twilio("/webhook/twilio/status", **CALL, CallStatus="completed")  # or the drain waits for it
        stop.set()
