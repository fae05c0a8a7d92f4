"""`callscope bench webhooks`: Vapi's webhooks, ours against an Express and a Quart-Trio server in one run on one core.

The servers take turns over the rounds, each started anew, alone on the first core; the generator has the last one.
Ours is `callscope serve` with live calls: their webhooks go into the journal, and their tools really run. The peers
only answer, so whatever is written here is to our disadvantage.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from web.bench.beside import beside_media
from web.bench.contenders import find_peer
from web.bench.http_driver import HttpDriver, http_generator, status_updates, tool_calls
from web.bench.process import cpu_s
from web.bench.servers import SECRET, Server, in_turns, our_server, peer_server

__all__ = ["PEERS", "Shape", "compare", "print_webhooks"]

PEERS = ("quart", "express")
CALLS = 8
TOOLS_A_CALL = 60  # a call remembers 64 and runs no more (actors.call_actor)
SHARE_OF_MOST = 0.7
GOAL = 2.0  # times what plain Quart-Trio gives; the calls beside it are tried with a good part of this
DEFAULT_RATE = 1_500.0  # when Quart-Trio is not there to compare with
MIX = 8  # one request in so many is a tool call

_AGENT = """\
name: bench
tools: tools.py
assistant: {name: bench, firstMessage: Hello}
limits: {concurrent_calls: 100, max_duration_s: 7200, idle_s: 7200}
"""
_TOOLS = '''\
from actors.tools import tool

@tool(effect="read")
async def instant() -> str:
    """Answers at once."""
    return "ok"
'''

Said = Callable[[str], None]


@dataclass(frozen=True)
class Shape:
    """How long and how often."""

    rounds: int = 3
    warm_s: float = 3.0  # Node compiles while it serves: it has its full speed only then
    seconds: float = 4.0
    connections: int = 64  # so many that the server has work while the generator reads

    @classmethod
    def quick(cls) -> Shape:
        return cls(rounds=1, warm_s=2.0, seconds=1.0)


@dataclass
class Seen:
    """What was measured of one server, a number a round."""

    rates: list[float] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)
    p50s_ms: list[float] = field(default_factory=list)
    p99s_ms: list[float] = field(default_factory=list)
    mixed_rates: list[float] = field(default_factory=list)
    tool_p99s_ms: list[float] = field(default_factory=list)
    generator_cpu: list[float] = field(default_factory=list)
    bad: int = 0
    unanswered: int = 0


async def compare(shape: Shape, *, say: Said = lambda what: None) -> dict[str, Any]:
    """Measure all, and return what the command writes as JSON."""
    allowed = sorted(os.sched_getaffinity(0))
    server_core, generator_core = {allowed[0]}, {allowed[-1]}
    commands, skipped = _peers()
    seen = {name: Seen() for name in ("ours", *commands)}
    async with http_generator(cores=generator_core) as driver:
        for number in range(shape.rounds):
            for name, taken in in_turns(seen, number):
                say(f"round {number + 1} of {shape.rounds}: {name}")
                with tempfile.TemporaryDirectory(prefix="callscope-bench-") as folder:
                    opening = (
                        our_server(
                            Path(folder),
                            cores=server_core,
                            generator_cores=generator_core,
                            calls=CALLS,
                            agent=_AGENT,
                            tools=_TOOLS,
                        )
                        if name == "ours"
                        else peer_server(name, commands[name], Path(folder), cores=server_core)
                    )
                    async with opening as server:
                        await _measure(server, driver, shape, taken)
    cores = {"server": allowed[0], "generator": allowed[-1]}
    results = _results(seen, skipped)
    rate = SHARE_OF_MOST * GOAL * results["quart"]["requests_per_s"] if "quart" in results else DEFAULT_RATE
    say(f"{rate:.0f} webhooks a second beside 100 talking calls")
    beside = await beside_media(SECRET, rate, shape.seconds)
    return {**results, "beside_media": beside, "cores": cores, "connections": shape.connections}


def _peers() -> tuple[dict[str, list[str]], dict[str, str]]:
    commands, skipped = {}, {}
    for name in PEERS:
        found = find_peer(name)
        if isinstance(found, str):
            skipped[name] = found
        else:
            commands[name] = found
    return commands, skipped


async def _measure(server: Server, driver: HttpDriver, shape: Shape, seen: Seen) -> None:
    """The most it can, then how long each takes at a good part of that, then with tool calls among them."""
    updates = status_updates(SECRET, server.call_ids)
    many = shape.connections
    await driver.load(server.port, updates, seconds=shape.warm_s, connections=many)
    before_s = cpu_s(server.pid)
    most = await driver.load(server.port, updates, seconds=shape.seconds, connections=many)
    seen.costs_us.append((cpu_s(server.pid) - before_s) / max(most["requests"], 1) * 1e6)
    seen.rates.append(most["requests_per_s"])
    seen.generator_cpu.append(most["generator_cpu"])
    rate = SHARE_OF_MOST * most["requests_per_s"]
    even = await driver.load(server.port, updates, seconds=shape.seconds, rate=rate, connections=many)
    seen.p50s_ms.append(even["latency_ms"]["p50"])
    seen.p99s_ms.append(even["latency_ms"]["p99"])
    mixed = await driver.load(server.port, _mix(updates, server.call_ids), seconds=30.0, once=True, connections=many)
    seen.mixed_rates.append(mixed["requests_per_s"])
    seen.tool_p99s_ms.append(mixed["marked_ms"]["p99"])
    seen.bad += most["bad"] + even["bad"] + mixed["bad"]
    seen.unanswered += even["unanswered"]


def _mix(updates: Sequence[bytes], call_ids: Sequence[str]) -> list[bytes]:
    tools = tool_calls(SECRET, call_ids, "instant", CALLS * TOOLS_A_CALL)
    return [
        tools[index // MIX] if index % MIX == 0 else updates[index % len(updates)] for index in range(len(tools) * MIX)
    ]


# --- results ----------------------------------------------------------------------------------------------------------


def _results(seen: Mapping[str, Seen], skipped: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: _numbers(one) for name, one in seen.items()}
    most, least_us = numbers["ours"]["requests_per_s"], numbers["ours"]["us_per_request"]
    peers = {name: one for name, one in numbers.items() if name != "ours"}
    return {
        **numbers,
        "ratio": {name: round(most / one["requests_per_s"], 2) for name, one in peers.items()},
        "ratio_cpu": {name: round(one["us_per_request"] / least_us, 2) for name, one in peers.items()},
        "skipped": dict(skipped),
    }


def _numbers(seen: Seen) -> dict[str, Any]:
    """Medians over the rounds, and the worst round's latency beside it."""
    return {
        "requests_per_s": round(median(seen.rates)),
        "us_per_request": round(median(seen.costs_us), 1),
        "latency_ms_p50": round(median(seen.p50s_ms), 3),
        "latency_ms_p99": round(median(seen.p99s_ms), 3),
        "latency_ms_p99_worst": round(max(seen.p99s_ms), 3),
        "mixed_requests_per_s": round(median(seen.mixed_rates)),
        "tool_ms_p99": round(median(seen.tool_p99s_ms), 3),
        "generator_cpu": round(max(seen.generator_cpu), 2),
        "bad": seen.bad,
        "unanswered": seen.unanswered,
    }


def print_webhooks(result: Mapping[str, Any], console: Console) -> None:
    """The table, and what has to be said about it."""
    table = Table(title=f"Vapi webhooks on one core, {result['connections']} kept connections")
    table.add_column("", no_wrap=True)
    for heading in ("req/s", "CPU µs", "p50 ms", "p99 ms", "mix req/s", "tool p99", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in ("ours", *PEERS):
        one = result.get(name)
        if one is not None:
            table.add_row(
                "callscope" if name == "ours" else name,
                f"{one['requests_per_s']:,}",
                f"{one['us_per_request']:.0f}",
                f"{one['latency_ms_p50']:.2f}",
                f"{one['latency_ms_p99']:.2f}",
                f"{one['mixed_requests_per_s']:,}",
                f"{one['tool_ms_p99']:.1f}",
                f"{result['ratio'][name]:.2f}" if name in result["ratio"] else "",
            )
    console.print(table)
    console.print(
        f"latency at {SHARE_OF_MOST:.0%} of each server's own maximum, from the moment a request was due; one in {MIX} "
        f"of the mix is a tool call; callscope has {CALLS} live calls, writes its journal and runs the tools"
    )
    beside = result["beside_media"]
    console.print(
        f"{beside['requests_per_s']:,} webhooks a second beside {beside['calls']} talking calls on the same core: "
        f"webhooks p99 {beside['latency_ms_p99']:.1f} ms; frames p99 {beside['media_ms_p99']:.1f} ms "
        f"({beside['media_ms_p99_alone']:.1f} before), {beside['frames_lost']} lost"
    )
    wrong = {name: one["bad"] + one["unanswered"] for name, one in result.items() if name in ("ours", *PEERS)}
    for name, count in wrong.items():
        if count:
            console.print(f"{name}: {count} requests got a wrong answer or none", style="red")
    for name, why in result["skipped"].items():
        console.print(f"skipped {name}: {why}", style="yellow")
    if result["cores"]["server"] == result["cores"]["generator"]:
        console.print("one core only: server and generator share it, and the figures say little", style="yellow")
