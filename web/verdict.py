"""Did the conversation really happen? Judged from outside: the recording by a recogniser, the tap by its clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.agent import Agent
from engine.journal import Kind, Record
from web.twins.speech.ears import Ears
from web.twins.speech.judge import agent_grammar, caller_grammar, transcribe_channels

BARGE_IN_BOUND_MS = 150.0


@dataclass(frozen=True)
class Verdict:
    """What was found, and what was wrong with it."""

    caller_said: tuple[str, ...]
    agent_was_heard_to_say: tuple[str, ...]
    barge_ins: tuple[Mapping[str, Any], ...]
    problems: tuple[str, ...] = field(default=())


async def judge(
    agent: Agent, records: Sequence[Record], recording: Path, known: Mapping[str, Any], ears: Ears
) -> Verdict:
    """Judge one call.

    Args:
        records: its journal.
        recording: its stereo WAV.
        known: what the Twilio twin says of it (`GET /twin/calls/{sid}`).
    """
    problems: list[str] = []
    closed = [record for record in records if record.kind is Kind.CLOSED]
    if not closed:
        problems.append("the journal has no end")
    elif closed[-1].data.get("outcome") != "completed":
        problems.append(f"the call was {closed[-1].data.get('outcome')}: {closed[-1].data.get('reason')}")
    if any(reply.tool for reply in agent.twin.replies) and not any(
        r.name == "ToolResult" and r.data.get("ok") for r in records
    ):
        problems.append("no tool answered")
    if known.get("errors"):
        problems.append(f"Twilio reports {known['errors']}")
    if known.get("failed_step") is not None:
        problems.append(f"the caller got stuck: {known['failed_step']}")
    heard = await transcribe_channels(
        recording, caller_grammar(agent), agent_grammar(agent, extra_sentences=_results(records)), ears
    )
    caller = tuple(span.text for span in heard.caller)
    spoken = tuple(span.text for span in heard.agent)
    for channel, texts in (("caller", caller), ("agent", spoken)):
        for words in agent.twin.agreed_words.get(channel, []):
            if words not in " ".join(texts):
                problems.append(f"nobody heard the {channel} say {words!r}")
    problems += _turn_problems(agent, records)
    barge_ins = tuple(known.get("barge_ins", ()))
    problems += _barge_in_problems(agent, barge_ins)
    return Verdict(caller, spoken, barge_ins, tuple(problems))


def _turn_problems(agent: Agent, records: Sequence[Record]) -> list[str]:
    """Noises must not end a speech, and a slow answer must be bridged."""
    problems = []
    noises = sum(bool(step.sound) and step.barge_in_ms is not None for step in agent.twin.caller)
    resumed = sum(r.name == "Interruption" and r.data.get("decision") == "resumed" for r in records)
    if resumed < noises:
        problems.append(f"{noises} noises while the agent spoke, after {resumed} it went on")
    slow = any(reply.think_ms > agent.silence.filler_after_ms * 2 for reply in agent.twin.replies)
    if slow and agent.silence.fillers != "off" and not any(r.name == "Line" for r in records):
        problems.append("nobody bridged the wait for a slow answer")
    return problems


def _barge_in_problems(agent: Agent, barge_ins: Sequence[Mapping[str, Any]]) -> list[str]:
    problems = []
    planned = sum(bool(step.say) and step.barge_in_ms is not None for step in agent.twin.caller)
    if len(barge_ins) < planned:
        problems.append(f"{planned} barge-in planned, {len(barge_ins)} happened")
    for one in barge_ins:
        silent_after_ms = one["silent_ms"] - one["onset_ms"] if one.get("silent_ms") is not None else None
        if silent_after_ms is None or silent_after_ms > BARGE_IN_BOUND_MS:
            problems.append(f"the agent spoke on for {silent_after_ms} ms after the caller cut in")
        if one.get("stale_ms"):
            problems.append(f"{one['stale_ms']} ms of stale speech were heard after a barge-in")
    return problems


def _results(records: Sequence[Record]) -> list[str]:
    """What the agent file cannot know: what tools answered, and which lines of ours were said."""
    results = [str(record.data["text"]) for record in records if record.name == "ToolResult" and record.data.get("ok")]
    return results + [str(record.data["text"]) for record in records if record.name == "Line"]
