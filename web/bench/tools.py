"""`callscope bench tools`: what we add to a tool call beside a hundred talking calls, and a thousand in flight at once.

The real service on one core, the generators on another. A request that only has to be noted (`status-update`) goes
through the same sockets, proof and reading as a tool call, in the same seconds: what a tool call takes longer is our
own, because its function does nothing. The peers run the same function, and write nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import trio

from web.bench.contenders import find_peer
from web.bench.http_driver import HttpDriver, http_generator, status_updates, tool_call
from web.bench.process import cpu_s, resident_bytes
from web.bench.servers import SECRET, Server, in_turns, our_server, peer_server
from web.bench.tools_lag import Lag, lag_of

__all__ = ["PEERS", "Shape", "compare"]

PEERS = {"quart_trio": "quart", "express": "express"}
MIX = ("status", "read", "status", "read", "idempotent", "status", "read", "commit", "status", "read") * 4
MIX = (*MIX[:-1], "crash")  # seldom: each writes its traceback into the log
WANTED = {
    "status": "{}",
    "read": '"result":"ok"',
    "idempotent": '"result":"ok"',
    "commit": '"result":"ok"',
    "crash": '"error":"crash ',  # … failed; where it does so all the time, it is switched off for that call
    "slow": '"result":"ok"',
}
CONNECTIONS = 64
MOST_A_SECOND = 8_000  # requests that are prepared for full speed; a server that does more is done sooner

_AGENT = """\
name: bench
tools: tools.py
assistant: {name: bench, firstMessage: Hello}
limits: {concurrent_calls: 1000, max_duration_s: 7200, idle_s: 7200}
silence: {fillers: "off", idle_prompts_s: [], give_up_s: 3600}  # frames are counted: no sound but Vapi's
"""
_TOOLS = '''\
import time

import trio

from actors.tools import tool

now = most = 0
last_began = 0.0


@tool(effect="read")
async def read(number: int) -> str:
    """Answers at once."""
    return "ok"


@tool(effect="idempotent")
async def idempotent(number: int) -> str:
    """Has its intent and its result durable before it is told."""
    return "ok"


@tool(effect="commit")
async def commit(number: int) -> str:
    """The same, and only once."""
    return "ok"


@tool(effect="read", breaker=None)
async def crash() -> str:
    """Fails."""
    raise RuntimeError("a tool's mistake")


@tool(effect="read", at_once=10_000)
async def slow(seconds: float) -> str:
    """Answers after a while."""
    global now, most, last_began
    now, last_began = now + 1, time.perf_counter()
    most = max(most, now)
    try:
        await trio.sleep(seconds)
    finally:
        now -= 1
    return "ok"


@tool(effect="read")
async def tally() -> dict[str, float]:
    """How many slow ones ran at the same time, and when the last of them began."""
    return {"most": most, "last_began": last_began}
'''

Said = Callable[[str], None]


@dataclass(frozen=True)
class Shape:
    """How long, how often and how many."""

    rounds: int = 3
    calls: int = 100
    rate: float = 250.0  # webhooks a second: over one tool call a second and call, far more than any agent makes
    warm_s: float = 3.0
    seconds: float = 8.0
    hurry_s: float = 4.0
    few_calls: int = 8  # while the peers, who have none, are compared
    in_flight: int = 1_000
    slow_s: float = 6.0
    settle_s: float = 2.0

    @classmethod
    def quick(cls) -> Shape:
        return cls(rounds=1, warm_s=1.5, seconds=4.0, hurry_s=1.5, slow_s=4.0, settle_s=1.0)


@dataclass
class Seen:
    """What was measured of one contender, an entry a round."""

    kinds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)
    bad: int = 0
    unanswered: int = 0
    wrong: dict[str, str] = field(default_factory=dict)

    def take_even(self, seen: Mapping[str, Any]) -> None:
        """What came of a load at the steady rate."""
        for kind, summary in seen["kinds_ms"].items():
            self.kinds.setdefault(kind, []).append(summary)
        self.unanswered += seen["unanswered"]
        self._count(seen)

    def take_hurried(self, seen: Mapping[str, Any], used_s: float) -> None:
        """What came of a load at full speed, which took so much of the server's CPU; it ends amid requests."""
        self.costs_us.append(used_s / max(seen["requests"], 1) * 1e6)
        self.rates.append(seen["requests_per_s"])
        self._count(seen)

    def _count(self, seen: Mapping[str, Any]) -> None:
        self.bad += seen["bad"]
        self.wrong |= seen["wrong"]

    def of(self, kind: str, what: str) -> float:
        """Median over the rounds; for `max` the worst."""
        values = [one[what] for one in self.kinds.get(kind, ())]
        if not values:
            return 0.0
        return round(max(values) if what == "max" else median(values), 3)

    def own_ms(self, kind: str, what: str) -> float:
        """What this kind took longer than a webhook that is only noted, in the same round."""
        pairs = zip(self.kinds.get(kind, ()), self.kinds.get("status", ()), strict=False)
        return round(median([one[what] - floor[what] for one, floor in pairs] or [0.0]), 3)


class ToolBench:
    """One run."""

    def __init__(self, shape: Shape, say: Said) -> None:
        self._shape, self._say = shape, say
        allowed = sorted(os.sched_getaffinity(0))
        self._cores, self._generator_cores = {allowed[0]}, {allowed[-1]}
        self._ids = count(1)

    async def run(self) -> dict[str, Any]:
        shape = self._shape
        async with http_generator(cores=self._generator_cores) as driver:
            with tempfile.TemporaryDirectory(prefix="callscope-bench-") as folder:
                async with self._ours(Path(folder), shape.calls) as server:
                    await trio.sleep(shape.settle_s)
                    ours = await self._beside_calls(driver, server)
                    ours |= await self._in_flight(driver, server)
            contest = await self._contest(driver)
        return {
            "ours": ours | contest.pop("ours"),
            **contest,
            "calls": shape.calls,
            "few_calls": shape.few_calls,
            "rate": shape.rate,
            "rounds": shape.rounds,
            "cores": {"server": min(self._cores), "generator": min(self._generator_cores)},
        }

    def _ours(self, data: Path, calls: int) -> AbstractAsyncContextManager[Server]:
        self._say(f"starting callscope serve with {calls} calls")
        return our_server(
            data, cores=self._cores, generator_cores=self._generator_cores, calls=calls, agent=_AGENT, tools=_TOOLS
        )

    # --- latency beside a hundred calls ------------------------------------------------------------------------------

    async def _beside_calls(self, driver: HttpDriver, server: Server) -> dict[str, Any]:
        shape, seen = self._shape, Seen()
        assert server.media is not None
        self._say(f"{shape.calls} calls alone")
        alone = await server.media.measure(shape.seconds)
        await self._evenly(driver, server, shape.warm_s)
        heard: list[dict[str, Any]] = []
        for number in range(shape.rounds):
            self._say(f"round {number + 1} of {shape.rounds}: {shape.rate:g} webhooks a second beside them")
            async with trio.open_nursery() as nursery:
                listen = partial(_listen, after_s=shape.seconds / 8)  # the generator is reading its orders first
                nursery.start_soon(listen, server, shape.seconds, heard)
                seen.take_even(await self._evenly(driver, server, shape.seconds))
        return {
            "kinds": {
                kind: {what: seen.of(kind, what) for what in ("p50", "p99", "max")}
                | {"n": sum(int(one["n"]) for one in seen.kinds[kind])}
                | {f"own_{what}": seen.own_ms(kind, what) for what in ("p50", "p99")}
                for kind in seen.kinds
            },
            "read_ms_p50": seen.of("read", "p50"),
            "read_ms_p99": seen.of("read", "p99"),
            "floor_ms_p50": seen.of("status", "p50"),
            "floor_ms_p99": seen.of("status", "p99"),
            "own_ms_p50": seen.own_ms("read", "p50"),
            "own_ms_p99": seen.own_ms("read", "p99"),
            "own_ms_p99_over_median_floor": round(seen.of("read", "p99") - seen.of("status", "p50"), 3),
            "commit_ms_p99": seen.of("commit", "p99"),
            "media_ms_p99_alone": _frames_p99_ms(alone),
            "media_ms_p99": round(median(_frames_p99_ms(one) for one in heard), 3),
            "frames_lost": sum(_frames_lost(one, shape.calls) for one in heard),
            "bad": seen.bad,
            "unanswered": seen.unanswered,
            "wrong": seen.wrong,
        }

    async def _evenly(self, driver: HttpDriver, server: Server, seconds: float) -> dict[str, Any]:
        """The mix at the steady rate."""
        total = int(self._shape.rate * seconds * 1.3) + 50  # more than will be sent
        kinds = [MIX[number % len(MIX)] for number in range(total)]
        requests = [self._request(server, kind, number) for number, kind in enumerate(kinds)]
        return await driver.load(
            server.port, requests, seconds=seconds, rate=self._shape.rate, connections=CONNECTIONS, kinds=kinds,
            wanted=WANTED, once=True,
        )  # fmt: skip

    def _request(self, server: Server, kind: str, number: int) -> bytes:
        turn = number // len(MIX) if kind == "crash" else number  # a tool that keeps crashing in a call is switched off
        call_id = server.call_ids[turn % len(server.call_ids)]
        if kind == "status":
            return status_updates(SECRET, [call_id])[0]
        unique = next(self._ids)
        arguments: dict[str, Any] = {"crash": {}, "slow": {"seconds": self._shape.slow_s}}.get(kind, {"number": unique})
        return tool_call(SECRET, call_id, kind, f"bench_{unique}", arguments)

    # --- a thousand at once ------------------------------------------------------------------------------------------

    async def _in_flight(self, driver: HttpDriver, server: Server) -> dict[str, Any]:
        """Slow tool calls, each on a connection of its own, all sent at once."""
        shape = self._shape
        self._say(f"{shape.in_flight} slow tool calls at once")
        assert server.media is not None and server.service is not None
        before_bytes, lag_before = resident_bytes(server.pid), await lag_of(server.service)
        requests = [self._request(server, "slow", number) for number in range(shape.in_flight)]
        most_bytes = 0
        heard: list[dict[str, Any]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, server, shape.slow_s, heard)

            async def weigh() -> None:
                nonlocal most_bytes
                while True:
                    most_bytes = max(most_bytes, resident_bytes(server.pid))
                    await trio.sleep(0.25)

            async with trio.open_nursery() as weighing:
                weighing.start_soon(weigh)
                seen = await driver.load(
                    server.port, requests, seconds=shape.slow_s + 10, once=True, connections=shape.in_flight,
                    kinds=["slow"] * shape.in_flight, wanted=WANTED,
                )  # fmt: skip
                weighing.cancel_scope.cancel()
        tally = await self._tally(server)
        lag: Lag = (await lag_of(server.service)) - lag_before
        return {
            "in_flight": int(tally["most"]),
            "answered": seen["requests"] - seen["bad"],
            "asked_at_once": shape.in_flight,
            "accepted_ms": round((tally["last_began"] - seen["began"]) * 1000, 1),
            "in_flight_added_ms_p99": round(seen["kinds_ms"]["slow"]["p99"] - shape.slow_s * 1000, 1),
            "in_flight_kb_each": round((most_bytes - before_bytes) / 1024 / shape.in_flight, 1),
            "in_flight_lag_ms_p99": lag.at_most_ms(0.99),
            "in_flight_lag_ms_max": lag.at_most_ms(1.0),
            "in_flight_media_ms_p99": _frames_p99_ms(heard[0]),
            "in_flight_frames_lost": _frames_lost(heard[0], shape.calls),
            "in_flight_wrong": seen["wrong"],
        }

    async def _tally(self, server: Server) -> dict[str, float]:
        assert server.service is not None and server.service.http is not None
        body = tool_call(SECRET, server.call_ids[0], "tally", f"bench_{next(self._ids)}", {}).partition(b"\r\n\r\n")[2]
        headers = {"x-vapi-secret": SECRET, "content-type": "application/json"}
        url = server.service.url + "/webhook/vapi"
        answer = (await server.service.http.post(url, content=body, headers=headers)).json()
        said: dict[str, float] = msgspec.json.decode(answer["results"][0]["result"])
        return said

    # --- the peers ---------------------------------------------------------------------------------------------------

    async def _contest(self, driver: HttpDriver) -> dict[str, Any]:
        """The same tool calls to ours with a few calls and to the peers, in turns."""
        commands, skipped = _peers()
        seen = {name: Seen() for name in ("ours", *commands)}
        for number in range(self._shape.rounds):
            for name, taken in in_turns(seen, number):
                with tempfile.TemporaryDirectory(prefix="callscope-bench-") as folder:
                    self._say(f"round {number + 1} of {self._shape.rounds}: {name}")
                    opening = (
                        self._ours(Path(folder), self._shape.few_calls)
                        if name == "ours"
                        else peer_server(name, commands[name], Path(folder), cores=self._cores)
                    )
                    async with opening as server:
                        await self._compete(driver, server, taken)
        return _contest_results(seen, skipped)

    async def _compete(self, driver: HttpDriver, server: Server, seen: Seen) -> None:
        shape = self._shape
        await self._hurried(driver, server, shape.warm_s)
        seen.take_even(await self._evenly(driver, server, shape.seconds))
        before_s = cpu_s(server.pid)
        most = await self._hurried(driver, server, shape.hurry_s)
        seen.take_hurried(most, cpu_s(server.pid) - before_s)

    async def _hurried(self, driver: HttpDriver, server: Server, seconds: float) -> dict[str, Any]:
        """Reading tool calls, as many as it takes."""
        requests = [self._request(server, "read", number) for number in range(int(MOST_A_SECOND * seconds))]
        return await driver.load(
            server.port, requests, seconds=seconds, once=True, connections=CONNECTIONS, kinds=["read"] * len(requests),
            wanted=WANTED,
        )  # fmt: skip


async def compare(shape: Shape, *, say: Said = lambda what: None) -> dict[str, Any]:
    """Measure all, and return what the command writes as JSON."""
    return await ToolBench(shape, say).run()


async def _listen(server: Server, seconds: float, heard: list[dict[str, Any]], *, after_s: float = 0.0) -> None:
    """What the calls hear."""
    assert server.media is not None
    await trio.sleep(after_s)
    heard.append(await server.media.measure(seconds - after_s))


def _peers() -> tuple[dict[str, list[str]], dict[str, str]]:
    commands, skipped = {}, {}
    for name, folder_name in PEERS.items():
        found = find_peer(folder_name)
        if isinstance(found, str):
            skipped[name] = found
        else:
            commands[name] = found
    return commands, skipped


def _contest_results(seen: Mapping[str, Seen], skipped: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: _numbers(one) for name, one in seen.items()}
    ours = numbers["ours"]
    peers = {name: one for name, one in numbers.items() if name != "ours"}
    return {
        "ours": {"few": ours, "us_per_tool_call": ours["us_per_tool_call"]},
        **peers,
        "ratio": {name: round(ours["tool_calls_per_s"] / one["tool_calls_per_s"], 2) for name, one in peers.items()},
        "ratio_cpu": {
            name: round(one["us_per_tool_call"] / ours["us_per_tool_call"], 2) for name, one in peers.items()
        },
        "ratio_p99": {name: round(one["read_ms_p99"] / ours["read_ms_p99"], 2) for name, one in peers.items()},
        "skipped": dict(skipped),
    }


def _numbers(seen: Seen) -> dict[str, Any]:
    return {
        "tool_calls_per_s": round(median(seen.rates)),
        "us_per_tool_call": round(median(seen.costs_us), 1),
        "read_ms_p50": seen.of("read", "p50"),
        "read_ms_p99": seen.of("read", "p99"),
        "read_ms_max": seen.of("read", "max"),
        "commit_ms_p99": seen.of("commit", "p99"),
        "crash_ms_p99": seen.of("crash", "p99"),
        "floor_ms_p50": seen.of("status", "p50"),
        "floor_ms_p99": seen.of("status", "p99"),
        "own_ms_p99": seen.own_ms("read", "p99"),
        "bad": seen.bad,
        "unanswered": seen.unanswered,
        "wrong": seen.wrong,
    }


def _frames_p99_ms(seen: Mapping[str, Any]) -> float:
    worst_us = float(max(seen["to_agent_us"].get("p99", 0), seen["to_line_us"].get("p99", 0)))
    return round(worst_us / 1000, 3)


def _frames_lost(seen: Mapping[str, Any], calls: int) -> int:
    return int(seen["lost"] + seen["disordered"] + (calls - seen["open"]))
