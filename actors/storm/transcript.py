"""A storm's call in words: what happened, by whom, at which millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from actors.storm.engine_level import EnginePlan, relive
from actors.storm.storm_world import StormCall
from engine import effects as f
from engine import events as e
from engine.call import Call
from engine.journal import Kind


def of_engine(plan: EnginePlan) -> list[str]:
    """Every step of an engine's plan."""
    lines: list[str] = []

    def told(before: Call, event: e.Event, after: Call, effects: tuple[f.Effect, ...]) -> None:
        way = f"{before.phase} → {after.phase}" if after.phase is not before.phase else str(before.phase)
        orders = ", ".join(_in_words(effect) for effect in effects)
        lines.append(f"{event.at:10.4f} s  {way:28} {_in_words(event):50} {orders}".rstrip())

    relive(plan, told)
    return lines


def _in_words(thing: e.Event | f.Effect) -> str:
    data = msgspec.to_builtins(thing)
    data.pop("at", None)
    return f"{type(thing).__name__}({_fields(data)})"


def _fields(data: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in data.items() if value not in (None, "", {}, False))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 48 else text[:47] + "…"


def of_call(call: StormCall) -> Iterator[str]:
    """The journal, and what the caller uttered and heard beside it."""
    began_ms = 0.0 if call.carrier is None else (call.carrier.began_at - call.opened_at) * 1000
    heard = [
        (run.at_ms + began_ms, f"  ear     {'agent' if run.is_agent else 'our line'} for {run.ms:.0f} ms")
        for run in call.tap.runs
    ]
    said = [
        (placed.onset_ms + began_ms, f"  caller  {placed.sound.name!r} for {placed.end_ms - placed.onset_ms:.0f} ms")
        for placed in (call.caller.placed if call.caller is not None else ())
    ]
    faults = [(one.at_ms, f"  FAULT   {one.kind}{f' {one.more:g}' if one.more else ''}") for one in call.plan.faults]
    written = [
        (record.at_ms, f"  {_SIGNS[record.kind]}{record.name}({_record(record.data)})") for record in call.records
    ]
    for at_ms, text in sorted([*faults, *said, *written, *heard], key=lambda line: line[0]):
        yield f"{at_ms:10.1f} ms{text}"


def _record(data: dict[str, Any]) -> str:
    return _fields({key: value for key, value in data.items() if key not in ("policy", "audio", "recording")})


_SIGNS = {
    Kind.OPENED: "        ", Kind.EVENT: "event   ", Kind.EFFECT: "order   ", Kind.PHASE: "phase → ",
    Kind.NOTE: "note    ", Kind.CLOSED: "        ",
}  # fmt: skip
