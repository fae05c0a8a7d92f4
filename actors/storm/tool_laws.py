"""What must hold of tools, by the journal and by what they did: once, after the intent, never for a cut turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from actors.storm.house import CHANGES
from actors.storm.law_broken import LawBroken
from actors.storm.storm_world import StormCall, StormWorld
from engine.journal import Kind, Record

LAW = "I4 one effect"
CUTS = ("words", "key", "phrase", "keyword")  # reasons of a Drop by which the caller discards the turn


def of_effects(world: StormWorld) -> Iterator[LawBroken]:
    """By what the tools themselves saw."""
    effects = world.house.effects
    for tool in world.plan.tools:
        if tool.effect not in CHANGES:
            continue
        done, begun, asked = effects.done[tool.name], effects.begun[tool.name], effects.asked[tool.name]
        if done > asked:
            yield LawBroken(LAW, 0.0, f"{tool.name} happened {done} times, asked for {asked} times")
        intents = sum(_intents(call)[tool.name] for call in world.calls)
        if begun > intents:
            yield LawBroken("I4 intent before effect", 0.0, f"{tool.name} began {begun} times, intended {intents}")
    for name, at, phase in effects.too_soon:
        yield LawBroken("a tool of a discarded turn never runs", at, f"{name} begins while the caller cuts in: {phase}")
    for (name, key), count in effects.keys.items():
        if count > 1:
            yield LawBroken(LAW, 0.0, f"{name} happened {count} times with the idempotency key {key[:11]}…")


def _intents(call: StormCall) -> Counter[str]:
    return Counter(record.data["name"] for record in call.records if record.name == "ToolIntent")


def of_journal(call: StormCall) -> Iterator[LawBroken]:
    """By one call's records."""
    asked: dict[str, Record] = {}
    seen: set[tuple[str, str]] = set()
    happened: set[str] = set()  # by its key
    cut: Record | None = None
    for record in call.records:
        tool = str(record.data.get("tool_call_id", ""))
        if record.kind is Kind.EFFECT and record.name == "Drop" and record.data.get("reason") in CUTS:
            cut = record
        if record.name == "ToolRequested":
            asked[tool] = record
        if record.name not in ("ToolIntent", "ToolResult"):
            continue
        if (record.name, tool) in seen:
            yield LawBroken(LAW, record.at_ms / 1000, f"{record.name} twice for one ask")
        seen.add((record.name, tool))
        key, name = str(record.data.get("key", "")), str(record.data["name"])
        may_have_been = record.data.get("ok") or record.data.get("sure") is False
        if record.name == "ToolResult" and key and may_have_been:
            happened.add(key)
        if record.name != "ToolIntent" or record.data.get("effect") not in CHANGES:
            continue
        if key in happened:
            yield LawBroken(LAW, record.at_ms / 1000, f"{name} begins again with the key of what has happened")
        ask = asked.get(tool)
        if ask is not None and cut is not None and cut.seq > ask.seq:
            what = f"{name} of a turn into which the caller cut"
            yield LawBroken("a tool of a discarded turn never runs", record.at_ms / 1000, what)
