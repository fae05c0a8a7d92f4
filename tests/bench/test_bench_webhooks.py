"""The webhook bench measures what it says: its generator hides no stall, and every server gets the same webhooks."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
from rich.console import Console

import web.bench.beside
import web.bench.webhooks
from engine.wire import vapi
from engine.wire.signatures import VapiAuth
from web.bench.http_driver import HttpDriver, http_generator, status_updates, tool_calls
from web.bench.webhooks import Shape, compare, print_webhooks
from web.fast_http import Answer, FastHttp
from web.http_reading import Request

NUMBERS = {"requests_per_s", "us_per_request", "latency_ms_p50", "latency_ms_p99", "tool_ms_p99"}


@dataclass
class Bench:
    """A generator, and a server in the test's own process that does as it is told."""

    driver: HttpDriver
    port: int
    asked: list[Request] = field(default_factory=list)
    status: int = 200
    body: bytes = b"{}"
    stall_s: float = 0.0


@asynccontextmanager
async def open_bench() -> AsyncIterator[Bench]:
    async with http_generator(cores=set(range(64))) as driver, trio.open_nursery() as nursery:
        bench = Bench(driver, 0)

        def handle(request: Request) -> Answer:
            bench.asked.append(request)
            time.sleep(bench.stall_s)  # the whole server stands still, as a bad one does
            bench.stall_s = 0.0
            return Answer(bench.status, bench.body)

        fast = FastHttp("/webhook/vapi", handle)

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                assert not await fast.serve(stream)

        listeners = await nursery.start(_serve_tcp, serve)
        bench.port = listeners[0].socket.getsockname()[1]
        yield bench
        nursery.cancel_scope.cancel()


async def _serve_tcp(
    handler: object, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED
) -> None:
    await trio.serve_tcp(handler, 0, host="127.0.0.1", task_status=task_status)  # type: ignore[arg-type]


async def test_it_counts_what_was_answered() -> None:
    """Each request once, in turn; a wrong status, or a tool call without a result, is counted as bad."""
    updates, tools = status_updates("s", ["a", "b"]), tool_calls("s", ["a"], "instant", 3)
    async with open_bench() as bench:
        seen = await bench.driver.load(bench.port, updates + tools, seconds=5, once=True, connections=2)
        assert (seen["requests"], seen["bad"], seen["unanswered"]) == (5, 3, 0)
        assert seen["seconds"] < 5
        bench.body = b'{"results": [{"result": "ok"}]}'
        assert (await bench.driver.load(bench.port, tools, seconds=5, once=True))["bad"] == 0
        bench.status = 401
        assert (await bench.driver.load(bench.port, updates, seconds=5, once=True))["bad"] == 2
    assert len(bench.asked) == 5 + 3 + 2


async def test_as_fast_as_it_goes() -> None:
    """For the time that was asked, with every connection busy."""
    async with open_bench() as bench:
        seen = await bench.driver.load(bench.port, status_updates("s", ["a"]), seconds=0.5, connections=4)
        assert 0.5 <= seen["seconds"] < 1
        assert seen["requests"] <= len(bench.asked) <= seen["requests"] + 4
        assert seen["requests_per_s"] == pytest.approx(seen["requests"] / seen["seconds"])


async def test_an_even_load_does_not_wait_for_a_server_that_stands_still() -> None:
    """Requests that were due meanwhile count from when they were due: one stall of 0.3 s is seen by many of them."""
    async with open_bench() as bench:
        bench.stall_s = 0.3
        seen = await bench.driver.load(bench.port, status_updates("s", ["a"]), seconds=1.0, rate=200.0, connections=2)
        assert 140 < seen["requests"] < 270 and seen["unanswered"] == 0
        assert seen["most_waiting"] > 20
        assert seen["latency_ms"]["max"] >= 290
        assert seen["latency_ms"]["p99"] > 150, "as many as came in 0.3 s have waited, not two"


def test_the_webhooks_are_vapis() -> None:
    """Proved by the secret, read by our wire, about the calls asked for; each tool call has an id of its own."""
    auth = VapiAuth(shared_secret="s")
    ids = set()
    for request in status_updates("s", ["a", "b"]) + tool_calls("s", ["a", "b"], "instant", 10):
        head, _, body = request.partition(b"\r\n\r\n")
        pairs = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert int(pairs["Content-Length"]) == len(body) > 1_000
        auth.check(pairs, body, 0.0)
        hook = vapi.read_webhook(body)
        assert hook.call_id in "ab"
        if isinstance(hook.content, vapi.ToolCalls):
            (call,) = hook.content.calls
            assert call.name == "instant" and call.problem is None
            ids.add(call.id)
        else:
            assert isinstance(hook.content, vapi.StatusUpdate)
    assert len(ids) == 10


@pytest.mark.slow
async def test_the_whole_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A very short run of everything that is here: nobody answers wrong, and we are quicker than plain Quart-Trio."""
    monkeypatch.setattr(web.bench.beside, "CALLS", 20)
    result = await compare(Shape(rounds=1, warm_s=0.2, seconds=0.5, connections=16))
    assert set(result["ratio"]) | set(result["skipped"]) == {"quart", "express"}
    for name in ("ours", *result["ratio"]):
        assert set(result[name]) >= NUMBERS
        assert (result[name]["bad"], result[name]["unanswered"]) == (0, 0), name
    assert result["ratio"]["quart"] > 1.5, "seven on a quiet machine"
    beside = result["beside_media"]
    assert (beside["bad"], beside["frames_lost"]) == (0, 0) and beside["media_ms_p99"] > 0
    assert msgspec.json.decode(msgspec.json.encode(result)) == result


async def test_what_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without peers there are no ratios, and the reason stands in the result and under the table."""
    monkeypatch.setattr(web.bench.webhooks, "find_peer", lambda name: f"no {name} here")
    monkeypatch.setattr(web.bench.webhooks, "CALLS", 1)
    monkeypatch.setattr(web.bench.beside, "CALLS", 3)
    monkeypatch.setattr(web.bench.beside, "SETTLE_S", 0.3)
    result = await compare(Shape(rounds=1, warm_s=0.1, seconds=0.2, connections=4))
    assert result["skipped"] == {"quart": "no quart here", "express": "no express here"}
    assert result["ratio"] == {}
    console = Console(record=True, width=100, file=io.StringIO())
    print_webhooks(result, console)
    text = console.export_text()
    assert f"{result['ours']['requests_per_s']:,}" in text and "skipped express: no express here" in text
