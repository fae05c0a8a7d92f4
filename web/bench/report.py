"""What `callscope bench` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from web.bench.media import MOST_CLEAR_MS, Result


def write_json(result: object, path: Path) -> None:
    """The whole result, one JSON object."""
    data = asdict(result) if not isinstance(result, Mapping) else dict(result)  # type: ignore[call-overload]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n")


def print_media(result: Result, console: Console) -> None:
    """The table of a media run, its ratios, and what has to be said about it."""
    table = Table(title="one relayed 20 ms frame, and how many calls one core carries")
    for heading in (
        "",
        "CPU µs / frame",
        "calls / core",
        "p50 ms",
        "p99 ms",
        "max ms",
        "kB / call",
        "ours ÷ theirs",
        "compiled ÷ theirs",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    rows: list[tuple[str, Mapping[str, float], tuple[str, str]]] = [("callscope", result.ours, ("", ""))]
    rows += [
        (name, known, (_number(result.ratio, name, 2), _number(result.ratio_compiled, name, 2)))
        for name, known in result.peers.items()
        if name in result.ratio
    ]
    for name, known, ratios in rows:
        table.add_row(
            name,
            _number(known, "us_per_frame"),
            _number(known, "calls_per_core", 0),
            _number(known, "latency_ms_p50"),
            _number(known, "latency_ms_p99"),
            _number(known, "latency_ms_max"),
            _number(known, "kb_per_call", 0),
            *ratios,
        )
    console.print(table)
    ours = result.ours
    for name, known in (("callscope", ours), *result.peers.items()):
        if "clear_ms_p99" in known:
            console.print(
                f"{name}, barge-in at {known.get('calls_per_core', 0):.0f} calls: {known['cleared']:.0f} of "
                f"{known['interruptions']:.0f} interruptions cleared; clear left p50 {known['clear_ms_p50']:.1f} ms, "
                f"p99 {known['clear_ms_p99']:.1f} ms after the frame that caused it (goal {MOST_CLEAR_MS:g}); "
                f"stale frames after it: {known['stale_frames']:.0f}; audio in the same seconds p99 "
                f"{known['clear_frames_ms_p99']:.1f} ms, "
                f"the generator itself late by {known['clear_generator_late_ms_p99']:.1f}"
            )
    if "calls_on_workers" in ours:
        console.print(
            f"{ours['workers']:.0f} workers, the load generator on the same cores: {ours['calls_on_workers']:.0f} calls"
        )
    for name, why in result.skipped.items():
        console.print(f"skipped {name}: {why}", style="yellow")
    for note in result.notes:
        console.print(note, style="yellow")
    where = result.machine
    console.print(
        f"{where['cores']} cores, {where['cpu']}, Linux {where['kernel']}, CPython {where['python']}", style="dim"
    )


def _number(known: Mapping[str, float], key: str, digits: int = 1) -> str:
    return f"{known[key]:.{digits}f}" if key in known else "–"
