"""The whole thing on one machine: both twins and the production service, each a process of its own, on loopback.

The service is `callscope serve` itself with two base URLs changed; nothing in it knows that it is being demonstrated.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio

from actors.twilio_rest import TwilioRest
from engine.agent import CallerStep, DialPlan
from engine.errors import BadSettings
from web.agents import load_agent
from web.children import Child, ChildFailed, start_child

ACCOUNT_SID = "AC" + "0" * 30 + "01"
NUMBER = "+12025550199"
CALLER = "+12025550123"
READY_S = 30.0
CALL_S = 180.0
STACK_FILE = "demo.json"  # how `callscope call` in a second terminal finds us

Progress = Callable[[str], None]


@dataclass
class Stack:
    """A running stack."""

    data: Path
    twilio: Child
    vapi: Child
    service: Child
    account_sid: str
    auth_token: str = field(repr=False)
    http: httpx.AsyncClient = field(repr=False)
    public_url: str = ""
    sounds: Path | None = None  # the folder of the files that scripts name as sounds

    @property
    def journal(self) -> Path:
        return self.data / "journal.sqlite3"

    async def place_call(self, script: Sequence[CallerStep], *, from_number: str = CALLER, voice: str = "en-GB") -> str:
        """Let a scripted caller phone the agent. Returns Twilio's CallSid."""
        return await place_call(
            self.http, self.twilio.url, script, from_number=from_number, voice=voice, sounds=self.sounds
        )

    async def dial(self, dials: DialPlan, script: Sequence[CallerStep], *, voice: str = "en-GB") -> str:
        """Have the service call somebody who acts as the script says. Returns Twilio's CallSid."""
        callee = {"number": dials.to, "answers": dials.answers, "greeting": dials.greeting, "voice": voice}
        callee |= {"script": msgspec.to_builtins(list(script)), "sounds": str(self.sounds or "")}
        (await self.http.post(f"{self.twilio.url}/twin/callees", json=callee)).raise_for_status()
        asked = await self.http.post(
            f"{self.public_url}/api/calls",
            json={"to": dials.to, "variables": dials.variables},
            headers={"Idempotency-Key": secrets.token_hex(16)},
        )
        if asked.is_error:
            raise ChildFailed(f"the service does not call: {asked.json().get('detail', asked.status_code)}")
        calls = f"{self.twilio.url}/2010-04-01/Accounts/{self.account_sid}/Calls.json"
        known = await self.http.get(calls, params={"To": dials.to}, auth=(self.account_sid, self.auth_token))
        known.raise_for_status()
        return str(known.json()["calls"][0]["sid"])

    async def wait_call(self, call_sid: str, *, timeout_s: float = CALL_S) -> Mapping[str, Any]:
        """What the Twilio twin knows of a call once it is over."""
        return await wait_call(self.http, self.twilio.url, call_sid, timeout_s=timeout_s)


async def place_call(
    http: httpx.AsyncClient,
    twilio_url: str,
    script: Sequence[CallerStep],
    *,
    from_number: str = CALLER,
    voice: str = "en-GB",
    sounds: Path | None = None,
) -> str:
    """Ask a Twilio twin for an inbound call by a scripted caller. Returns its CallSid.

    Args:
        sounds: the folder of the files that the script names as sounds.
    """
    body = {"from": from_number, "to": NUMBER, "voice": voice, "script": msgspec.to_builtins(list(script))}
    if sounds is not None:
        body["sounds"] = str(sounds)
    answer = await http.post(f"{twilio_url}/twin/calls", json=body)
    answer.raise_for_status()
    return str(answer.json()["sid"])


async def wait_call(
    http: httpx.AsyncClient, twilio_url: str, call_sid: str, *, timeout_s: float = CALL_S
) -> Mapping[str, Any]:
    """Wait for the end of a call at a Twilio twin.

    Raises:
        trio.TooSlowError: it goes on for longer than `timeout_s`.
    """
    with trio.fail_after(timeout_s):
        while True:
            answer = await http.get(f"{twilio_url}/twin/calls/{call_sid}/wait?timeout_s=20", timeout=30.0)
            answer.raise_for_status()
            known: Mapping[str, Any] = answer.json()
            if known.get("ended"):
                return known


@asynccontextmanager
async def open_stack(
    agent: Path,
    data: Path,
    *,
    progress: Progress = lambda what: None,
    vapi_options: Sequence[str] = (),
    service_env: Mapping[str, str] | None = None,
    workers: int = 1,
    reload: bool = False,
) -> AsyncIterator[Stack]:
    """Start everything, point the twin's phone number at the service, and wait until calls may come.

    Args:
        workers: how many processes the service has.
        reload: the service and the Vapi twin follow the agent's files.

    Raises:
        ChildFailed: one of the processes did not start; its log's end is in the message.
    """
    data.mkdir(parents=True, exist_ok=True)
    of_agent = ["--agent", str(agent), *(["--reload"] if reload else [])]
    logs = data / "logs"
    auth_token, api_key, secret = (secrets.token_hex(16) for _ in range(3))
    children: list[Child] = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    public_url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def start(name: str, arguments: Sequence[str], **more: Any) -> Child:
        progress(f"starting {name}")
        child = await start_child(name, arguments, logs=logs, **more)
        children.append(child)
        return child

    try:
        backend_env = {}
        if backend := _backend_of(agent):
            started = await start("backend", ["web.backend", str(backend), "--port", "0"])
            backend_env = {"BACKEND_URL": started.url}
        credentials = ["--account-sid", ACCOUNT_SID, "--auth-token", auth_token, "--number", NUMBER]
        sounds = agent if agent.is_dir() else agent.parent
        of_twin = ["--data", str(data / "twilio-twin"), "--sounds", str(sounds)]
        twilio = await start("twilio-twin", ["web", "twin", "twilio", "--port", "0", *credentials, *of_twin])
        vapi = await start(
            "vapi-twin",
            ["web", "twin", "vapi", "--port", "0", "--api-key", api_key, *of_agent, *vapi_options],
        )
        env = {
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": auth_token,
            "TWILIO_PHONE_NUMBER": NUMBER,
            "TWILIO_BASE_URL": twilio.url,
            "VAPI_API_KEY": api_key,
            "VAPI_ASSISTANT_ID": "",
            "VAPI_SERVER_SECRET": secret,
            "VAPI_BASE_URL": vapi.url,
            "PUBLIC_URL": public_url,
            "CALLSCOPE_DATA": str(data),
            **backend_env,
            **(service_env or {}),
        }
        serve = ["web", "serve", *of_agent, "--fd", str(listening.fileno()), "--workers", str(workers)]
        service = await start("callscope", serve, env=env, pass_fds=[listening.fileno()])
        async with httpx.AsyncClient(
            timeout=10.0, limits=httpx.Limits(max_connections=200, keepalive_expiry=2.0)
        ) as http:
            progress("waiting for the assistant")
            await _wait_ready(http, public_url, service)
            progress("pointing the phone number at the service")
            rest = TwilioRest(http, account_sid=ACCOUNT_SID, auth_token=auth_token, base_url=twilio.url)
            await rest.point_number(
                NUMBER, voice_url=f"{public_url}/webhook/twilio", status_url=f"{public_url}/webhook/twilio/status"
            )
            stack = Stack(
                data,
                twilio,
                vapi,
                service,
                ACCOUNT_SID,
                auth_token,
                http,
                public_url=public_url,
                sounds=sounds,
            )
            _announce(stack, agent)
            yield stack
    finally:
        listening.close()
        with suppress(OSError):
            (data / STACK_FILE).unlink()
        with trio.CancelScope(shield=True):  # each stop has its own deadline
            for child in reversed(children):
                await child.stop()


def _backend_of(agent: Path) -> Path | None:
    """The backend that the agent file names. What is wrong with the file is said by who serves it."""
    with suppress(BadSettings):
        loaded = load_agent(agent)
        return loaded.path.parent / loaded.agent.twin.backend if loaded.agent.twin.backend else None
    return None


async def _wait_ready(http: httpx.AsyncClient, public_url: str, service: Child) -> None:
    why = "no answer"
    with trio.move_on_after(READY_S):
        while service.process.returncode is None:
            with suppress(httpx.TransportError):
                answer = await http.get(f"{public_url}/ready")
                if answer.status_code == 200:
                    return
                why = answer.text.strip()
            await trio.sleep(0.05)
    raise ChildFailed(f"the service is not ready: {why}; see {service.log}")


def _announce(stack: Stack, agent: Path) -> None:
    """Leave word for a second terminal. No secrets: the twin's caller interface needs none."""
    where = {"twilio": stack.twilio.url, "vapi": stack.vapi.url, "service": stack.service.url}
    where["agent"] = str(agent.absolute())
    (stack.data / STACK_FILE).write_text(json.dumps(where), encoding="utf-8")
