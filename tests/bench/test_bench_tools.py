"""The tool bench measures what it says: every kind is really run, our own part a difference, many are at once."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

import web.bench.tools
from tests.bench.test_bench_webhooks import open_bench
from web.bench.contenders import find_peer
from web.bench.http_driver import status_updates, tool_call
from web.bench.tools import Seen, Shape, compare
from web.bench.tools_lag import Lag
from web.bench.tools_report import print_tools

TINY = Shape(
    rounds=1, calls=5, rate=60.0, warm_s=0.1, seconds=0.8, hurry_s=0.2, few_calls=2, in_flight=40, slow_s=0.8,
    settle_s=0.2,
)  # fmt: skip


async def test_a_load_tells_its_kinds_apart() -> None:
    """Each kind has its own times, and an answer without what that kind's answers hold is a bad one, and is shown."""
    requests = [*status_updates("s", ["a", "b"]), tool_call("s", "a", "read", "1", {"number": 1})]
    async with open_bench() as bench:
        seen = await bench.driver.load(
            bench.port, requests, seconds=5, once=True, kinds=["status", "status", "read"],
            wanted={"status": "{}", "read": '"result"'},
        )  # fmt: skip
    assert {kind: one["n"] for kind, one in seen["kinds_ms"].items()} == {"status": 2, "read": 1}
    assert seen["bad"] == 1 and set(seen["wrong"]) == {"read"} and seen["wrong"]["read"].endswith("{}")


async def test_a_kind_is_timed_from_its_bytes() -> None:
    """A server that stands still makes later requests late, but a kind's time begins when its bytes are written."""
    requests = status_updates("s", ["a"]) * 100
    async with open_bench() as bench:
        bench.stall_s = 0.3
        seen = await bench.driver.load(
            bench.port, requests, seconds=0.25, rate=100.0, once=True, connections=1, kinds=["status"] * 100
        )
    assert seen["latency_ms"]["max"] >= 290
    assert seen["kinds_ms"]["status"]["p50"] < seen["latency_ms"]["p50"], "it waited for a free connection, unsent"


def test_our_own_is_the_difference_in_the_same_round() -> None:
    """Against the floor of its own round, so that a round in which the machine was slow is not held against us."""
    seen = Seen()
    for slower in (1.0, 100.0, 2.0):
        floor = {"n": 10, "p50": slower, "p99": 3 * slower, "max": 9 * slower}
        read = {what: value + 0.5 for what, value in floor.items()}
        seen.take_even({"kinds_ms": {"status": floor, "read": read}, "bad": 0, "unanswered": 0, "wrong": {}})
    assert seen.own_ms("read", "p99") == 0.5
    assert seen.of("read", "p50") == 2.5 and seen.of("read", "max") == 900.5
    assert seen.of("commit", "p99") == 0.0


def test_lag_is_what_came_between_two_looks() -> None:
    """A bucket's upper bound in milliseconds; what was there before does not count."""

    def metrics(*counts: int) -> str:
        bounds = ("0.001", "0.005", "+Inf")
        lines = [
            f'callscope_loop_lag_seconds_bucket{{le="{le}"}} {count}' for le, count in zip(bounds, counts, strict=True)
        ]
        return "\n".join(["# TYPE callscope_loop_lag_seconds histogram", *lines, "callscope_calls_live 3"])

    before, after = Lag.read(metrics(10, 10, 20)), Lag.read(metrics(108, 110, 120))
    assert (after - before).at_most_ms(0.5) == 1.0
    assert (after - before).at_most_ms(1.0) == 5.0
    assert (after - after).at_most_ms(0.99) == 1.0 and Lag({}).at_most_ms(1.0) == 0.0


def printed(result: dict[str, Any]) -> str:
    console = Console(record=True, width=120, file=io.StringIO())
    print_tools(result, console)
    return " ".join(console.export_text().split())


@pytest.mark.slow
async def test_the_whole_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny run of everything: each kind is run by the real service and the peer, and what cannot run is said."""
    find = find_peer
    monkeypatch.setattr(
        web.bench.tools, "find_peer", lambda name: f"no {name} here" if name == "express" else find(name)
    )
    result = await compare(TINY)
    assert result["skipped"] == {"express": "no express here"}
    assert set(result["ratio"]) == {"quart_trio"} and result["ratio"]["quart_trio"] > 0
    peer = result["quart_trio"]
    assert (peer["bad"], peer["wrong"], peer["unanswered"]) == (0, {}, 0) and peer["tool_calls_per_s"] > 0
    ours = result["ours"]
    assert set(ours["kinds"]) == {"status", "read", "idempotent", "commit", "crash"}
    assert (ours["bad"], ours["wrong"], ours["in_flight_wrong"], ours["few"]["bad"]) == (0, {}, {}, 0)
    assert (ours["in_flight"], ours["answered"]) == (40, 40), "all of them at the same time"
    assert ours["frames_lost"] == 0 and ours["commit_ms_p99"] > 0 and ours["read_ms_p99"] >= ours["read_ms_p50"]
    assert msgspec.json.decode(msgspec.json.encode(result)) == result

    text = printed(result)
    assert "40 in flight, 40 answered" in text and "quart-trio" in text
    assert "skipped express: no express here" in text and "wrong answer" not in text
    ours["bad"], ours["wrong"] = 1, {"read": "[busy]"}
    assert "ours: 1 requests got a wrong answer or none read: [busy]" in printed(result)
