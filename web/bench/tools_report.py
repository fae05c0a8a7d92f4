"""What `callscope bench tools` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from web.bench.tools import PEERS

__all__ = ["GOAL_OWN_MS", "print_tools"]

GOAL_OWN_MS = 3.0
QUIET_MS = 5.0  # a hundred calls on a quiet machine: 2 to 3 ms
KINDS = {
    "status": "status-update (floor)",
    "read": "read",
    "idempotent": "idempotent (durable)",
    "commit": "commit (durable)",
    "crash": "crash",
}


def print_tools(result: Mapping[str, Any], console: Console) -> None:
    """The tables, and what has to be said about them."""
    ours = result["ours"]
    console.print(_latencies(result))
    console.print(
        f"our own, for a read that answers at once: {ours['own_ms_p99']:.2f} ms p99 (goal {GOAL_OWN_MS:g}), "
        f"{ours['own_ms_p50']:.2f} ms p50: what it takes longer than a webhook that is only noted, medians of "
        f"{result['rounds']} rounds. Frames meanwhile: p99 {ours['media_ms_p99']:.1f} ms "
        f"({ours['media_ms_p99_alone']:.1f} before), {ours['frames_lost']} lost"
    )
    console.print(
        f"{ours['asked_at_once']:,} slow tool calls at once: {ours['in_flight']:,} in flight, {ours['answered']:,} "
        f"answered; the last began after {ours['accepted_ms']:.0f} ms; {ours['in_flight_kb_each']:.1f} kB each; ticks "
        f"at most {ours['in_flight_lag_ms_p99']:g} ms late (p99), frames p99 {ours['in_flight_media_ms_p99']:.1f} ms, "
        f"{ours['in_flight_frames_lost']} lost"
    )
    console.print(_contest(result))
    console.print(
        f"ratio: reading tool calls a second at full speed on one core, ours ÷ theirs; latency at {result['rate']:g} "
        f"webhooks a second (floor and commit: p99). callscope has {result['few_calls']} live calls here and writes "
        "its journal; the peers have none and write nothing"
    )
    for name in ("ours", *PEERS):
        _say_wrong(name, result["ours"] if name == "ours" else result.get(name), console)
    _say_wrong("ours, few calls", ours["few"], console)
    for name, why in result["skipped"].items():
        console.print(f"skipped {name}: {why}", style="yellow")
    if ours["media_ms_p99_alone"] > QUIET_MS:
        console.print(
            f"the machine is busy with others: frames alone were {ours['media_ms_p99_alone']:.1f} ms late (p99). Only "
            "the ratios say something; run it on a quiet machine, or with `nice -n -10`",
            style="yellow",
        )
    if result["cores"]["server"] == result["cores"]["generator"]:
        console.print("one core only: server and generator share it, and the figures say little", style="yellow")


def _latencies(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"tool calls beside {result['calls']} talking calls on one core, ms")
    table.add_column("", no_wrap=True)
    for heading in ("n", "p50", "p99", "max", "own 50", "own 99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for kind, name in KINDS.items():
        one = result["ours"]["kinds"].get(kind)
        if one is not None:
            own = ["", ""] if kind == "status" else [f"{one['own_p50']:.2f}", f"{one['own_p99']:.2f}"]
            table.add_row(name, f"{one['n']:,}", *(f"{one[what]:.2f}" for what in ("p50", "p99", "max")), *own)
    return table


def _contest(result: Mapping[str, Any]) -> Table:
    table = Table(title="the same tool calls to each alone on one core")
    table.add_column("", no_wrap=True)
    for heading in ("calls/s", "CPU µs", "p50 ms", "p99", "floor", "commit", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in ("ours", *PEERS):
        one = result["ours"]["few"] if name == "ours" else result.get(name)
        if one is not None:
            table.add_row(
                "callscope" if name == "ours" else name.replace("_", "-"),
                f"{one['tool_calls_per_s']:,}",
                f"{one['us_per_tool_call']:.0f}",
                *(f"{one[what]:.2f}" for what in ("read_ms_p50", "read_ms_p99", "floor_ms_p99", "commit_ms_p99")),
                f"{result['ratio'][name]:.2f}" if name in result["ratio"] else "",
            )
    return table


def _say_wrong(name: str, one: Mapping[str, Any] | None, console: Console) -> None:
    if one is None or not one["bad"] + one["unanswered"]:
        return
    console.print(f"{name}: {one['bad'] + one['unanswered']} requests got a wrong answer or none", style="red")
    for kind, answer in one["wrong"].items():
        console.print(f"  {kind}: {answer}", style="red", markup=False)
