"""The webhook generator as an object, and the webhooks that it sends. Other benches may run it beside their load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import trio

from engine.errors import BadSettings
from web.bench.contenders import ROOT
from web.bench.http_load import Order
from web.bench.process import pin

__all__ = ["HttpDriver", "http_generator", "status_updates", "tool_call", "tool_calls"]

SAMPLES = ROOT / "tests" / "samples" / "vapi"
ANSWER_S = 30.0
CONNECTIONS = 64


@dataclass
class HttpDriver:
    """Orders to one generator process. See `web.bench.http_load.Order` and `Round.run` for what comes back."""

    process: trio.Process

    async def load(
        self,
        port: int,
        requests: Sequence[bytes],
        *,
        seconds: float,
        rate: float = 0.0,
        once: bool = False,
        connections: int = CONNECTIONS,
        kinds: Sequence[str] = (),
        wanted: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send these webhooks: evenly at `rate` a second, or as fast as they are answered."""
        assert self.process.stdin is not None
        texts = [one.decode("latin-1") for one in requests]
        order = Order(port, texts, connections, seconds, rate, once, list(kinds), wanted or {})
        with trio.fail_after(seconds + ANSWER_S):
            await self.process.stdin.send_all(msgspec.json.encode(order) + b"\n")
            return await self.answer()

    async def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            some = await self.process.stdout.receive_some(65_536)
            if not some:
                raise RuntimeError("the webhook generator ended; what it said is above")
            line += some
        said: dict[str, Any] = msgspec.json.decode(line)
        return said


@asynccontextmanager
async def http_generator(*, cores: set[int]) -> AsyncIterator[HttpDriver]:
    """A generator process on these cores."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "web.bench.http_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    driver = HttpDriver(process)
    try:
        with trio.fail_after(ANSWER_S):
            await driver.answer()
        pin(process.pid, cores)
        yield driver
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # killed: it ends
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


def status_updates(secret: str, call_ids: Sequence[str]) -> list[bytes]:
    """Vapi's commonest server message, for each of these calls."""
    return [_request(secret, _about("status-update-in-progress", call)) for call in call_ids]


def tool_calls(secret: str, call_ids: Sequence[str], tool: str, count: int) -> list[bytes]:
    """So many tool calls, each with an id of its own: a repeated one would not be run again."""
    return [tool_call(secret, call_ids[number % len(call_ids)], tool, f"bench_{number}", {}) for number in range(count)]


def tool_call(secret: str, call_id: str, tool: str, tool_call_id: str, arguments: Mapping[str, Any]) -> bytes:
    """One tool call, as Vapi writes it three times into its webhook (reference/vapi.md §8.2)."""
    body = _about("tool-calls", call_id)
    one = {"id": tool_call_id, "type": "function", "function": {"name": tool, "arguments": dict(arguments)}}
    body["message"] |= {"toolCallList": [one], "toolCalls": [one]}
    body["message"]["toolWithToolCallList"] = [{"type": "function", "name": tool, "toolCall": one}]
    return _request(secret, body)


def _about(sample: str, call_id: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(_sample(sample))
    body["message"]["call"]["id"] = call_id
    return body


@lru_cache
def _sample(name: str) -> bytes:
    try:
        return (SAMPLES / f"{name}.json").read_bytes()
    except OSError:
        raise BadSettings("the samples of Vapi's messages come with a checkout: run this bench from one") from None


def _request(secret: str, message: dict[str, Any]) -> bytes:
    """As Vapi's client (axios on Node) and the proxy before us send it."""
    body = json.dumps(message, separators=(",", ":")).encode()
    lines = (
        "POST /webhook/vapi HTTP/1.1",
        "Host: calls.example.com",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "User-Agent: axios/1.7.9",
        "Accept: application/json, text/plain, */*",
        "Accept-Encoding: gzip, compress, deflate, br",
        "Content-Type: application/json",
        f"X-Vapi-Secret: {secret}",
        f"X-Call-Id: {message['message']['call']['id']}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
