"""What a call is: its state, and what each event notes in it whatever the phase. Pure.

What comes next is decided in `engine.step`, by the rules in `engine.rules`. The state is plain data with a version, so
that it can be journaled, replayed and moved to another process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from engine import events as e
from engine.agent import Agent
from engine.phases import Phase

CALL_VERSION = 1


class Policy(msgspec.Struct, frozen=True):
    """What the agent file says about this call, in the engine's units."""

    debounce_s: float = 0.3
    partial_chars: int = 3
    idle_s: float = 60.0
    max_duration_s: float = 600.0
    holding_after_s: float = 1.5  # the caller is there, the agent is not: say so within 2 s
    agent_patience_s: float = 6.0  # then fall back
    fallback_words: str = ""
    fallback_number: str | None = None
    goodbye_words: str = "We have to end the call here. Goodbye."

    @classmethod
    def of(cls, agent: Agent) -> Policy:
        return cls(
            debounce_s=agent.turns.debounce_ms / 1000,
            partial_chars=agent.turns.partial_chars,
            idle_s=agent.limits.idle_s,
            max_duration_s=agent.limits.max_duration_s,
            fallback_words=agent.fallback.words,
            fallback_number=agent.fallback.number,
        )


class Call(msgspec.Struct, frozen=True):
    """One call. Times are seconds on its own clock; None means: has not happened."""

    call_id: str
    policy: Policy = Policy()
    phase: Phase = Phase.CONNECTING
    opened_at: float = 0.0
    entered_at: float = 0.0  # when this phase began
    line_up_at: float | None = None
    agent_up_at: float | None = None
    holding_said: bool = False
    utterance: int = 0  # the epoch that may be heard; marks and ends of older ones change nothing
    agent_talking: bool = False  # by Vapi's word (speech-update), not by sound
    caller_voiced: bool = False  # by our ear
    voice_at: float = 0.0  # last sign of the caller's voice
    active_at: float = 0.0  # last sign of anybody
    confirmed_at: float | None = None  # Vapi heard this interruption too
    tools: tuple[str, ...] = ()  # ids of the tool calls under way
    farewell_at: float | None = None  # the agent has said that the conversation is over
    next_words: str = ""  # what Twilio shall say when it has the call back
    next_number: str | None = None
    reason: str = ""  # why it ended, or is ending
    v: int = CALL_VERSION


def noting(call: Call, event: e.Event) -> Call:
    """The call with what this event tells in any phase."""
    note = _NOTES.get(type(event))
    return call if note is None else msgspec.structs.replace(call, **note(call, event))


_Note = Callable[[Call, Any], dict[str, Any]]


def _line_up(call: Call, event: e.Event) -> dict[str, Any]:
    return {"line_up_at": event.at, "active_at": event.at}


def _agent_up(call: Call, event: e.Event) -> dict[str, Any]:
    return {"agent_up_at": event.at, "active_at": event.at}


def _both_up(call: Call, event: e.BothLegsUp) -> dict[str, Any]:
    return _line_up(call, event) if event.fact == "StreamStarted" else _agent_up(call, event)


def _voice(call: Call, event: e.CallerVoice) -> dict[str, Any]:
    return {"caller_voiced": True, **_barged_in(call, event)}


def _barged_in(call: Call, event: e.Event) -> dict[str, Any]:
    noted: dict[str, Any] = {"voice_at": event.at, "active_at": event.at}
    if call.phase is Phase.SPEAKING:
        noted["confirmed_at"] = None  # a new interruption: Vapi's word on the last one no longer counts
    return noted


def _quiet(call: Call, event: e.CallerQuiet) -> dict[str, Any]:
    return {"caller_voiced": False, "voice_at": event.at, "active_at": event.at}


def _vapi_interrupted(call: Call, event: e.AgentInterrupted) -> dict[str, Any]:
    return {"agent_talking": False, "confirmed_at": event.at, "active_at": event.at}


def _tool_done(call: Call, event: e.ToolAnswered | e.LastToolAnswered) -> dict[str, Any]:
    left = tuple(tool for tool in call.tools if tool != event.tool_call_id)
    return {"tools": left, "active_at": event.at}


def _leaving(words: Callable[[Call, Any], dict[str, Any]]) -> _Note:
    """Why the call leaves and what Twilio shall say then: the first reason counts, later ones are its echoes."""
    return lambda call, event: {} if call.phase in (Phase.TRANSFERRING, Phase.ENDED) else words(call, event)


def _fallback(reason: Callable[[Any], str]) -> _Note:
    return _leaving(
        lambda call, event: {
            "reason": reason(event),
            "next_words": call.policy.fallback_words,
            "next_number": call.policy.fallback_number,
        }
    )


def _goodbye(reason: Callable[[Any], str]) -> _Note:
    return _leaving(
        lambda call, event: {
            "reason": reason(event),
            "next_words": call.policy.goodbye_words,
            "next_number": None,
        }
    )


def _transfer(call: Call, event: e.TransferOrdered) -> dict[str, Any]:
    return {"reason": "transferred", "next_words": event.words, "next_number": event.number}


def _farewell(call: Call, event: e.AgentEnded) -> dict[str, Any]:
    noted: dict[str, Any] = {"farewell_at": event.at, "reason": event.reason}
    if call.phase is Phase.CONNECTING:  # it left before anybody could hear it
        noted |= {"next_words": call.policy.fallback_words, "next_number": call.policy.fallback_number}
    return noted


def _active(call: Call, event: e.Event) -> dict[str, Any]:
    return {"active_at": event.at}


_NOTES: dict[type[e.Event], _Note] = {
    e.StreamStarted: _line_up,
    e.AgentConnected: _agent_up,
    e.BothLegsUp: _both_up,
    e.HoldingDue: lambda call, event: {"holding_said": True},
    e.AgentSpeechStarted: lambda call, event: {"agent_talking": True, "active_at": event.at},
    e.AgentAnswered: lambda call, event: {"agent_talking": True, "active_at": event.at},
    e.AgentSpeechStopped: lambda call, event: {"agent_talking": False, "active_at": event.at},
    e.AgentInterrupted: _vapi_interrupted,
    e.UtteranceStarted: lambda call, event: {"utterance": event.utterance, "active_at": event.at},
    e.PlaybackDone: _active,
    e.PlaybackDoneToolPending: _active,
    e.AgentTranscript: _active,
    e.CallerVoice: _voice,
    e.CallerQuiet: _quiet,
    e.CallerPartial: _barged_in,
    e.CallerSaid: _active,
    e.DigitPressed: _active,
    e.ToolRequested: lambda call, event: {"tools": (*call.tools, event.tool_call_id), "active_at": event.at},
    e.ToolAnswered: _tool_done,
    e.LastToolAnswered: _tool_done,
    e.AgentEnded: _leaving(_farewell),
    e.StreamEnded: lambda call, event: {"reason": call.reason or event.reason},
    e.CallerHungUp: lambda call, event: {"reason": call.reason or f"caller {event.status}"},
    e.HandedOver: lambda call, event: {"reason": call.reason or event.how},
    e.StreamLost: _fallback(lambda event: f"line lost: {event.reason}"),
    e.AgentLost: _fallback(lambda event: f"agent lost: {event.why}"),
    e.AgentOverdue: _fallback(lambda event: "agent overdue"),
    e.ActorGaveUp: _fallback(lambda event: f"crashed: {event.why}"),
    e.StreamOverdue: _fallback(lambda event: "stream never opened"),
    e.IdlePassed: _goodbye(lambda event: "nobody spoke"),
    e.DurationPassed: _goodbye(lambda event: "longest duration reached"),
    e.HangUpOrdered: _goodbye(lambda event: event.reason),
    e.TransferOrdered: _leaving(_transfer),
}
