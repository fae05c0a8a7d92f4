"""Who said what, and where the time of each turn went. Pure: one call's records in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.journal import Record
from web.api.types import Step, Turn, Waterfall

__all__ = ["turns", "waterfalls"]

_STEPS = {
    "TakeTurn": "caller's turn is over",
    "ToolRequested": "tool asked for",
    "ToolResult": "tool's result",
    "AgentWords": "agent's words",
    "AgentSpeechStarted": "agent begins to speak",
    "SayLine": "line of ours ordered",
}


def turns(records: Sequence[Record]) -> list[Turn]:
    """What was said, in the order in which it began. Of the agent, what the caller heard."""
    found: list[Turn] = []
    began_ms: dict[int, float] = {}
    voice_ms: float | None = None
    for record in records:
        data, text = record.data, record.data.get("text")
        said = text if isinstance(text, str) else ""
        match record.name:
            case "CallerVoice" if voice_ms is None:
                voice_ms = record.at_ms
            case "CallerTranscript" if data.get("final"):
                found.append(Turn(who="caller", at_ms=voice_ms or record.at_ms, end_ms=record.at_ms, text=said))
                voice_ms = None
            case "Interruption" if data.get("decision") == "resumed" and voice_ms is not None:
                if voice_ms <= _decided_ms(record):
                    voice_ms = None  # a cough: the words that come later begin with a voice of their own
            case "UtteranceStarted":
                began_ms[_utterance(data)] = record.at_ms
                if not data.get("ours"):  # a filler may come before the final words of the turn that it follows
                    voice_ms = None
            case "AgentHeard":
                at_ms = began_ms.get(_utterance(data), record.at_ms)
                cut = data.get("cut") is True
                found.append(
                    Turn(who="agent", at_ms=at_ms, end_ms=record.at_ms, text=said, cut=cut, unheard=_unheard(record))
                )
            case "Line":
                found.append(
                    Turn(who="line", at_ms=record.at_ms, end_ms=None, text=said, kind=str(data.get("kind", "")))
                )
            case "OperatorAction" if data.get("action") == "say":
                found.append(Turn(who="operator", at_ms=record.at_ms, end_ms=None, text=said))
            case _:
                pass
    return sorted(found, key=lambda turn: turn.at_ms)


def _utterance(data: Mapping[str, Any]) -> int:
    number = data.get("utterance")
    return number if isinstance(number, int) else 0


def _decided_ms(record: Record) -> float:
    """When it was decided what an interruption was, on the call's clock."""
    onset_s, decided_ms = record.data.get("onset_at"), record.data.get("decided_ms")
    known = isinstance(onset_s, int | float) and isinstance(decided_ms, int | float)
    return float(onset_s or 0) * 1000 + float(decided_ms or 0) if known else record.at_ms


def _unheard(record: Record) -> str:
    """The words that were generated and not heard."""
    text, generated = record.data.get("text"), record.data.get("generated")
    if not isinstance(generated, str) or not isinstance(text, str) or record.data.get("cut") is not True:
        return ""
    return generated[len(text) :].strip() if generated.startswith(text) else ""


def waterfalls(records: Sequence[Record]) -> list[Waterfall]:
    """One for each time that the agent was first heard after words of the caller."""
    found: list[Waterfall] = []
    quiet_ms, final_ms, words = -1.0, -1.0, False
    bridged_ms: float | None = None
    steps: list[Step] = []
    for record in records:
        at_ms, name = record.at_ms, record.name
        if name == "CallerQuiet":
            quiet_ms = at_ms
            steps = []
        elif name == "CallerVoice":
            quiet_ms, bridged_ms = -1.0, None
        elif name == "CallerTranscript":
            words = True
            if record.data.get("final"):
                final_ms = at_ms
        elif name == "UtteranceStarted":
            if quiet_ms < 0 or not words:
                continue
            since_ms = round(at_ms - quiet_ms, 1)
            if record.data.get("ours"):
                bridged_ms = since_ms if bridged_ms is None else bridged_ms
                continue
            if final_ms >= quiet_ms:
                steps.append(Step("final transcript", final_ms, round(final_ms - quiet_ms, 1)))
            steps.append(Step("first sound", at_ms, since_ms))
            found.append(
                Waterfall(
                    turn=len(found) + 1,
                    began_ms=quiet_ms,
                    first_sound_ms=at_ms,
                    latency_ms=since_ms,
                    bridged_ms=bridged_ms,
                    steps=sorted(steps, key=lambda step: step.at_ms),
                )
            )
            quiet_ms, final_ms, words, bridged_ms, steps = -1.0, -1.0, False, None, []
        elif quiet_ms >= 0 and name in _STEPS and all(step.name != _STEPS[name] for step in steps):
            steps.append(Step(_STEPS[name], at_ms, round(at_ms - quiet_ms, 1)))
    return found
