"""Who is measured: our own service, exactly as `callscope serve` runs it, and the peers in `tests/bench/peers`."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec
import trio

from engine.wire.signatures import twilio_signature
from web.bench.process import pin
from web.bench.vapi_rest import run_vapi_rest
from web.children import start_child

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "tests" / "bench" / "peers"
ACCOUNT_SID = "AC" + "0" * 31 + "1"
MOST_DIALS_AT_ONCE = 8
READY_S = 30.0
FORM = "application/x-www-form-urlencoded; charset=UTF-8"

_AGENT = """\
name: bench
assistant: {name: bench, firstMessage: Hello}
limits: {concurrent_calls: 5000, max_duration_s: 7200, idle_s: 7200}
silence: {fillers: "off", idle_prompts_s: [], give_up_s: 3600}  # frames are counted: no sound but Vapi's
"""


@dataclass
class Contender:
    """A server that takes media streams. `dials` makes what the load generator needs to open so many more calls."""

    name: str
    pid: int
    stamped: bool = True
    agents: bool = True
    in_order: bool = True
    port: int = 0
    http: httpx.AsyncClient | None = field(default=None, repr=False)
    auth_token: str = field(default="", repr=False)
    url: str = ""

    async def dials(self, calls: Sequence[int]) -> list[dict[str, Any]]:
        if self.http is None:
            return [_plan(call, "127.0.0.1", self.port, "/media", _start(call, "")) for call in calls]
        plans: list[dict[str, Any]] = []
        limiter = trio.CapacityLimiter(MOST_DIALS_AT_ONCE)

        async def one(call: int) -> None:
            async with limiter:
                plans.append(await self._admitted(call))

        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(one, call)
        return plans

    async def _admitted(self, call: int) -> dict[str, Any]:
        """Ring, as Twilio does: a signed voice webhook; its answer says where to connect the stream."""
        assert self.http is not None
        start = _start(call, secrets.token_hex(8))
        form = {
            "CallSid": start["start"]["callSid"],
            "AccountSid": ACCOUNT_SID,
            "From": "+12025550123",
            "To": "+12025550199",
            "CallStatus": "ringing",
            "Direction": "inbound",
        }
        url = self.url + "/webhook/twilio"
        headers = {
            "X-Twilio-Signature": twilio_signature(self.auth_token, url, list(form.items())),
            "Content-Type": FORM,
        }
        answer = await self.http.post(url, content=urlencode(form), headers=headers, timeout=30.0)
        answer.raise_for_status()
        media_url = _attribute(answer.text, r'<Stream[^>]* url="([^"]+)"')
        token = _attribute(answer.text, r'name="token" value="([^"]+)"')
        start["start"]["customParameters"] = {"token": token}
        parts = urlsplit(media_url)
        signed = {"X-Twilio-Signature": twilio_signature(self.auth_token, media_url, ())}
        return _plan(call, parts.hostname or "", parts.port or 80, parts.path, start, signed)

    async def numbers(self) -> Mapping[str, float]:
        """What `/metrics` says; nothing for a peer."""
        if self.http is None:
            return {}
        text = (await self.http.get(self.url + "/metrics")).text
        found: dict[str, float] = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("callscope_"):
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found


def _attribute(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"the voice webhook did not connect a stream: {text[:200]}")
    return match.group(1)


def _start(call: int, salt: str) -> dict[str, Any]:
    sid = f"{call:08d}{salt}".ljust(32, "0")
    return {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ" + sid,
        "start": {
            "streamSid": "MZ" + sid,
            "accountSid": ACCOUNT_SID,
            "callSid": "CA" + sid,
            "tracks": ["inbound"],
            "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }


def _plan(
    call: int, host: str, port: int, path: str, start: dict[str, Any], headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {"call": call, "host": host, "port": port, "path": path, "start": start, "headers": dict(headers or {})}


@asynccontextmanager
async def ours(
    agent_url: Callable[[], str],
    data: Path,
    *,
    workers: int,
    cores: set[int],
    agent: str = _AGENT,
    name: str = "callscope",
    home: Path | None = None,
) -> AsyncIterator[Contender]:
    """`callscope serve` with its journal and recordings on disk, and a Vapi whose audio is the load generator.

    Args:
        home: another copy of our packages to run, as the compiled one.
    """
    data.mkdir(parents=True, exist_ok=True)
    (data / "agent.yaml").write_text(agent, encoding="utf-8")
    token = secrets.token_hex(16)
    sock = trio.socket.socket()
    await sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.listen(1024)
    url = f"http://127.0.0.1:{port}"
    async with trio.open_nursery() as nursery:
        vapi_url = await nursery.start(run_vapi_rest, agent_url)
        env = {
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": token,
            "TWILIO_BASE_URL": "http://127.0.0.1:9",
            "VAPI_API_KEY": "bench",
            "VAPI_ASSISTANT_ID": "",
            "VAPI_SERVER_SECRET": "bench",
            "VAPI_BASE_URL": str(vapi_url),
            "PUBLIC_URL": url,
            "CALLSCOPE_DATA": str(data),
        }
        arguments = ["web", "serve", "--agent", str(data), "--fd", str(sock.fileno()), "--drain", "0"]
        if workers > 1:
            arguments += ["--workers", str(workers)]
        if home is not None:
            env["PYTHONPATH"] = str(home)
        child = await start_child("callscope", arguments, logs=data, env=env, pass_fds=[sock.fileno()], cwd=home)
        sock.close()
        try:
            pin(child.process.pid, cores)
            limits = httpx.Limits(max_connections=MOST_DIALS_AT_ONCE, keepalive_expiry=2.0)
            async with httpx.AsyncClient(timeout=30.0, limits=limits) as http:
                await _wait_ready(http, url)
                yield Contender(
                    name, child.process.pid, in_order=False, http=http, auth_token=token, url=url, port=port
                )
        finally:
            with trio.CancelScope(shield=True):  # `stop` has its own deadline
                await child.stop()
            nursery.cancel_scope.cancel()


async def _wait_ready(http: httpx.AsyncClient, url: str) -> None:
    with trio.fail_after(READY_S):
        while True:
            try:
                if (await http.get(url + "/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await trio.sleep(0.1)


def find_peer(name: str) -> list[str] | str:
    """How to start a peer, or why it cannot run here. Asked of the peers' own folder, in a process of its own."""
    if not (PEERS / "__init__.py").is_file():
        return "the peers come with a checkout, not with an installed Callscope"
    code = f"import json; from tests.bench.peers import find; print(json.dumps(find({name!r})))"
    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=360, check=False
    )
    if asked.returncode:
        return "its folder is broken: " + (asked.stderr.strip().splitlines() or ["no word"])[-1]
    found: list[str] | str = msgspec.json.decode(asked.stdout)
    return found


@asynccontextmanager
async def peer(
    name: str, argv: Sequence[str], agent_url: str, logs: Path, *, cores: set[int]
) -> AsyncIterator[Contender]:
    """One of the peers, as a process of its own."""
    with (logs / f"{name}.log").open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*argv, "--vapi", agent_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "NODE_ENV": "production"},
            cwd=ROOT,
        )
    try:
        with trio.fail_after(READY_S):
            ready = await _first_line(process)
        pin(process.pid, cores)
        echo = name == "pipecat"
        yield Contender(
            name, process.pid, port=int(ready["port"]), stamped=name != "floor", agents=not echo,
            in_order=not echo,
        )  # fmt: skip
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # killed: it ends
            await process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with trio.CancelScope(shield=True):
                    await pipe.aclose()


async def _first_line(process: trio.Process) -> Mapping[str, Any]:
    line = b""
    assert process.stdout is not None
    while not line.endswith(b"\n"):
        some = await process.stdout.receive_some(4096)
        if not some:
            raise RuntimeError("the peer ended before it was ready")
        line += some
    said: Mapping[str, Any] = msgspec.json.decode(line.splitlines()[0])
    return said
