"""What the values of an agent file cannot mean together: rules over the typed agent, faults with their lines."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from zoneinfo import available_timezones

import msgspec

from engine.agent import Agent, DialPlan, Keywords, Phrases, Silence, Turns
from engine.errors import BadSettings
from engine.http_faults import TOOL_NAME
from engine.http_faults import faults_of as http_tool_faults
from engine.http_tools import HttpTool
from engine.interrupting import local_minutes, minutes_of
from engine.lines import texts_of
from engine.mcp_tools import McpServer
from engine.mcp_tools import faults_of as mcp_server_faults
from engine.outbound import (
    OUR_VARIABLES,
    Outbound,
    number_refusal,
    numbers_of,
    slots_of,
    variables_refusal,
)
from engine.phrases import LANGUAGES, normalise
from web.agent_problems import Reading, agent_of
from web.clips.wav import read_wav

Complaint = tuple[tuple[str, ...], str]
"""The values at fault, the first that the file gives being where it is told, and what is wrong with them."""


def find_contradictions(reading: Reading, folder: Path) -> None:
    """Add to a reading what is impossible in it. `folder` is where the agent file stands."""
    for paths, what in _of_tools(reading):
        reading.complain_of(paths, what)
    agent = agent_of(reading)
    if agent is None:
        return
    for paths, what in (
        *_of_agent(agent, reading.nodes),
        *_of_turns(agent.turns),
        *_of_silence(agent.silence, folder),
        *_of_outbound(agent, folder),
    ):
        reading.complain_of(paths, what)


def _of_agent(agent: Agent, given: Collection[str]) -> Iterator[Complaint]:
    if agent.assistant is not None and agent.assistant_id is not None:
        yield ("$.assistant_id",), "give `assistant` or `assistant_id`, not both"
    idle_s, at = agent.limits.idle_s, "$.silence.idle_prompts_s"
    beyond = [one for one in agent.silence.idle_prompts_s if one >= idle_s]
    if beyond and at in given:  # the usual prompts may be more than a short call needs
        what = f"`idle_prompts_s`: no prompt at {beyond[0]:g} s, since `limits.idle_s` ends the call at {idle_s:g} s"
        yield (at, "$.limits.idle_s"), what


Part = TypeVar("Part", bound=msgspec.Struct)


def http_tools_of(reading: Reading) -> dict[str, HttpTool]:
    """Those HTTP tools that are good by themselves, whatever else is wrong."""
    return _good_ones(reading, "http_tools", HttpTool)


def mcp_servers_of(reading: Reading) -> dict[str, McpServer]:
    """Those MCP servers that are good by themselves."""
    return _good_ones(reading, "mcp", McpServer)


def _good_ones(reading: Reading, key: str, part: type[Part]) -> dict[str, Part]:
    found = {}
    for name, keys in ((reading.data or {}).get(key) or {}).items():
        try:
            found[name] = msgspec.convert(keys, part)
        except msgspec.ValidationError:
            continue  # a fault already
    return found


def _of_tools(reading: Reading) -> Iterator[Complaint]:
    for name, tool in http_tools_of(reading).items():
        base = f"$.http_tools.{name}"
        if not TOOL_NAME.fullmatch(name):
            yield (base,), f"`{name}` cannot be a tool's name: use letters, digits, - and _, at most 64"
        for at, what in http_tool_faults(tool):
            yield (f"{base}.{at}", base), what
    for name, server in mcp_servers_of(reading).items():
        base = f"$.mcp.{name}"
        for at, what in mcp_server_faults(server):
            yield (f"{base}.{at}", base), what


def _of_turns(turns: Turns) -> Iterator[Complaint]:
    if turns.confirm_ms > turns.longest_hold_ms:
        what = f"`confirm_ms` ({turns.confirm_ms}) must not be longer than `longest_hold_ms` ({turns.longest_hold_ms})"
        yield ("$.turns.confirm_ms", "$.turns.longest_hold_ms"), what
    for name in ("uninterruptible", "heard_again", "heard_keep"):
        yield from _soundless(getattr(turns, name), f"$.turns.{name}")
    again = {normalise(one) for one in turns.heard_again}
    for index, phrase in enumerate(turns.heard_keep):
        if normalise(phrase) in again:
            at = f"$.turns.heard_keep[{index}]"
            yield (at, "$.turns.heard_again"), f"{phrase!r} is in `heard_again` too; a speech can only be one of them"
    yield from _of_phrases(turns.phrases)
    if turns.keywords is not None:
        yield from _of_keywords(turns.keywords)


def _of_phrases(phrases: Phrases) -> Iterator[Complaint]:
    base = "$.turns.phrases"
    for index, language in enumerate(phrases.languages):
        if language not in LANGUAGES:
            near = [language[:2].lower()] if language[:2].lower() in LANGUAGES else []
            hint = f"; did you mean `{near[0]}`?" if near else ""
            what = f"there are no lists for the language {language!r}, only for {', '.join(LANGUAGES)}{hint}"
            yield (f"{base}.languages[{index}]",), what
    yield from _soundless(phrases.always_interrupt, f"{base}.always_interrupt")
    yield from _soundless(phrases.never_interrupt, f"{base}.never_interrupt")
    always = {normalise(one) for one in phrases.always_interrupt} - {""}
    for index, phrase in enumerate(phrases.never_interrupt):
        if normalise(phrase) in always:
            yield (f"{base}.never_interrupt[{index}]",), f"{phrase!r} is in `always_interrupt` too"


def _of_keywords(keywords: Keywords) -> Iterator[Complaint]:
    base = "$.turns.keywords"
    yield from _soundless(keywords.words, f"{base}.words")
    yield from _of_hours(keywords.hours, keywords.timezone, base)


def _of_hours(hours: str, timezone: str, base: str) -> Iterator[Complaint]:
    if hours:
        try:
            minutes_of(hours)
        except ValueError as problem:
            yield (f"{base}.hours",), f"`hours`: {problem}"
    try:
        local_minutes(0, timezone)
    except (LookupError, ValueError, OSError):
        near = get_close_matches(timezone, available_timezones(), n=1, cutoff=0.5)
        hint = f"; did you mean `{near[0]}`?" if near else ", like Europe/Berlin"
        yield (f"{base}.timezone",), f"{timezone!r} is no timezone{hint}"


def _of_outbound(agent: Agent, folder: Path) -> Iterator[Complaint]:
    outbound, twin = agent.outbound, agent.twin
    if twin.backend and not (folder / twin.backend).is_file():
        yield ("$.twin.backend",), f"`backend`: there is no {twin.backend} beside the agent file"
    if outbound is None:
        if twin.dials is not None:
            yield ("$.twin.dials",), "`dials` needs `outbound:`, which says who may be called"
        return
    base = "$.outbound"
    yield from _of_hours(outbound.hours or "?", outbound.timezone, base)
    yield from _of_words_for_machines(outbound)
    for index, name in enumerate(outbound.variables):
        if name in OUR_VARIABLES or name in outbound.variables[:index]:
            yield (f"{base}.variables[{index}]",), f"`{name}` is given already; choose another name"
    if outbound.do_not_call:
        try:
            numbers_of((folder / outbound.do_not_call).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            yield (f"{base}.do_not_call",), f"{outbound.do_not_call} beside the agent file cannot be read"
        except BadSettings as problem:
            yield (f"{base}.do_not_call",), str(problem)
    if twin.dials is not None:
        yield from _of_dials(outbound, twin.dials)


def _of_words_for_machines(outbound: Outbound) -> Iterator[Complaint]:
    at = "$.outbound.message"
    if outbound.machine == "leave_message" and not outbound.message.strip():
        yield ("$.outbound.machine", at), "`leave_message` needs a `message`"
    if outbound.machine != "leave_message" and outbound.message:
        yield (at,), "`message` is said with `machine: leave_message` only"
    for name in slots_of(outbound.message):
        if name not in outbound.variables:
            near = get_close_matches(name, outbound.variables, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else "; list it there"
            yield (at,), f"`message` wants {name}, which is none of `variables`{hint}"


def _of_dials(outbound: Outbound, dials: DialPlan) -> Iterator[Complaint]:
    refusal = number_refusal(outbound, dials.to, ())
    if refusal is not None:
        yield ("$.twin.dials.to",), f"the demo could not call this number: {refusal.detail}"
    refusal = variables_refusal(outbound, dials.variables)
    if refusal is not None:
        yield ("$.twin.dials.variables", "$.twin.dials"), f"the demo could not make this call: {refusal.detail}"


def _of_silence(silence: Silence, folder: Path) -> Iterator[Complaint]:
    prompts_s = silence.idle_prompts_s
    for index, (one, following) in enumerate(pairwise(prompts_s), start=1):
        if following <= one:
            what = f"`idle_prompts_s` must rise: {following:g} comes after {one:g}"
            yield (f"$.silence.idle_prompts_s[{index}]",), what
    if silence.fillers != "off" and silence.give_up_s * 1000 <= silence.filler_after_ms:
        what = f"`give_up_s` ({silence.give_up_s:g} s) is over before the filler of `filler_after_ms` is said"
        yield ("$.silence.give_up_s", "$.silence.filler_after_ms"), what
    lines = [line for some in texts_of(silence).values() for line in some]
    for line, name in silence.files.items():
        at = f"$.silence.files.{line}"
        if line not in lines:
            near = get_close_matches(line, lines, n=1)
            yield (at,), f"{line!r} is none of the lines" + (f"; did you mean {near[0]!r}?" if near else "")
            continue
        try:
            read_wav((folder / name).read_bytes())
        except OSError as problem:
            yield (at,), f"{name} cannot be read ({problem.strerror})"
        except ValueError as problem:
            yield (at,), f"{name}: {problem}"


def _soundless(phrases: tuple[str, ...], at: str) -> Iterator[Complaint]:
    for index, phrase in enumerate(phrases):
        if not normalise(phrase):
            yield (f"{at}[{index}]",), f"{phrase!r} holds no word"
