"""What the values of a scenario file cannot mean together, or with its agent: tools, moments, the third cut-in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import msgspec

from actors.scenario.plays import is_remote
from engine.agent import Agent
from engine.outbound import variables_refusal
from engine.phrases import normalise
from engine.scenario import Hears, HearsAMachine, Murmurs, Scenario, ToolCalled, head_of
from web.agents import LoadedAgent

_MOMENTS = ("after", "into", "pause", "at")


def impossible(scenario: Scenario, loaded: LoadedAgent | None) -> Iterator[tuple[str, str]]:
    """What is wrong, at which place."""
    yield from _moments(scenario)
    yield from _sounds(scenario)
    if loaded is None:
        return
    yield from _of_outbound(scenario, loaded.agent)
    tools = set(loaded.toolbox.tools)
    asked: list[tuple[str, str]] = [(f"$.tools.{name}", name) for name in scenario.tools]
    asked += [
        (f"$.vapi[{index}].calls", move.calls)
        for index, move in enumerate(scenario.vapi)
        if isinstance(move, Hears) and move.calls
    ]
    asked += [
        (f"$.expect[{index}].tool", one.tool)
        for index, one in enumerate(scenario.expect)
        if isinstance(one, ToolCalled)
    ]
    for at, name in asked:
        if name not in tools:
            near = get_close_matches(name, tools, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(sorted(tools)) or 'none'}"
            yield at, f"agent {loaded.agent.name!r} has no tool `{name}`; {hint}"
        elif at.endswith(".calls") and name not in scenario.tools and is_remote(loaded.toolbox.tools[name]):
            yield at, f"`{name}` is a request over the network: give it an answer under `tools:`"


def _of_outbound(scenario: Scenario, agent: Agent) -> Iterator[tuple[str, str]]:
    outbound = agent.outbound
    machines = [index for index, move in enumerate(scenario.twilio) if isinstance(move, HearsAMachine)]
    if outbound is None:
        what = f"agent {agent.name!r} has no `outbound:`, so that it calls nobody"
        if scenario.variables:
            yield "$.variables", what
        yield from ((f"$.twilio[{index}]", what) for index in machines)
    elif scenario.variables and (refusal := variables_refusal(outbound, scenario.variables)) is not None:
        yield "$.variables", refusal.detail


def _moments(scenario: Scenario) -> Iterator[tuple[str, str]]:
    for index, move in enumerate(scenario.caller):
        given = [name for name in _MOMENTS if getattr(move, f"{name}_ms") is not None]
        if len(given) > 1:
            yield f"$.caller[{index}].{given[1]}", f"`{given[0]}` and `{given[1]}` are two moments: keep one"
        if index == 0 and move.pause_ms is not None:
            yield (
                "$.caller[0].pause",
                "`pause` counts from the caller's own last move, and this is the first: use `at`",
            )
        if move.after_hearing and (bad := [name for name in given if name != "after"]):
            yield f"$.caller[{index}].{bad[0]}", "`after hearing` says when; beside it only `after` may stand"
        if isinstance(move, Murmurs) and not normalise(move.murmurs):
            yield f"$.caller[{index}].murmurs", "holds no word"
    for index, one in enumerate(scenario.vapi):
        if isinstance(one, Hears):
            for phrase in [one.hears] if isinstance(one.hears, str) else one.hears:
                if not normalise(phrase):
                    yield f"$.vapi[{index}].hears", f"{phrase!r} holds no word"
            if one.with_ and not one.calls:
                yield f"$.vapi[{index}].with", "`with` holds the arguments of `calls`, which is not here"
            if "{result}" in one.says and not one.calls:
                yield f"$.vapi[{index}].says", "`{result}` is what a tool answered, and no tool is called: add `calls`"


def _sounds(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """`after: cut in 3` where the caller cuts in twice."""
    counts = Counter(SOUND_NAMES.get(head_of(move), "") for move in scenario.caller)
    for index, one in enumerate(scenario.expect):
        after = getattr(one, "after", None)
        if isinstance(after, str):
            name, number = sound_of(after)
            if counts[name] < number:
                there = {0: "never does", 1: "does once"}.get(counts[name], f"does {counts[name]} times")
                at, verb = f"$.expect[{index}].after", {v: k for k, v in SOUND_NAMES.items()}[name]
                at = at if at_is_given(one) else f"$.expect[{index}]"
                yield at, f"`after: {after}`, but the caller {there} what `{verb}` says"


SOUND_NAMES: Mapping[str, str] = {
    "says": "words", "cuts in": "cut in", "murmurs": "murmur", "coughs": "cough", "makes noise": "noise",
}  # fmt: skip


def sound_of(after: str) -> tuple[str, int]:
    """Which kind of sound, and which of them: `cut in 2`. Without a number the first is meant to be there at least."""
    name, _, number = after.rpartition(" ")
    return (name, int(number)) if number.isdecimal() else (after, 1)


def at_is_given(one: msgspec.Struct) -> bool:
    default = next(field.default for field in msgspec.structs.fields(type(one)) if field.name == "after")
    return bool(getattr(one, "after", default) != default)
