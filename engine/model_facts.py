"""What `engine.model_check` plays: policies, the facts that may happen in a state, and which states are alike. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator

from engine import events as e
from engine.agent import Digits, Keywords, Silence, Turns
from engine.call import Call, Policy
from engine.phases import Phase

GAPS_S = (0.03, 0.5)  # after what was before: soon, late; never after the deadline

POLICIES = (
    Policy(fallback_words="Sorry.", fallback_number="+15550100", max_duration_s=120.0),
    Policy(lines=(), max_duration_s=120.0, agent_first=False, turns=Turns(hold=False, act_on="partials")),
    Policy(
        greeting_protected=True,
        max_duration_s=120.0,
        turns=Turns(uninterruptible=("this call is recorded",), interruptible_goodbye=False, longest_caller_s=2.0),
        silence=Silence(idle_prompts_s=(2.0, 4.0)),
        idle_s=6.0,
        digits=Digits(most=2, between_ms=400),
    ),
    Policy(lines=("goodbye",), max_duration_s=30.0, idle_s=5.0, turns=Turns(keywords=Keywords(words=("desk",)))),
)


def facts_in(call: Call, at: float) -> Iterator[e.Event]:
    """Everything that a leg, a tool or an operator may say now: also what makes no sense, for it happens."""
    yield e.StreamStarted(at=at, stream_sid="MZ1")
    yield e.StreamEnded(at=at, reason="stop", stopped=True)
    yield e.StreamEnded(at=at, reason="closed", stopped=False)
    yield e.CallerHungUp(at=at, status="completed")
    yield e.HandedOver(at=at, how="asked")
    yield e.DigitPressed(at=at, digit="5")
    yield e.DigitPressed(at=at, digit="#")
    yield e.AgentConnected(at=at, agent_call_id="a")
    yield e.AgentLost(at=at, why="closed")
    yield e.AgentEnded(at=at, reason="assistant-ended-call")
    yield e.AgentSpeechStarted(at=at)
    yield e.AgentSpeechStopped(at=at)
    yield e.AgentInterrupted(at=at)
    yield e.AgentTranscript(at=at, text="a table by the window", final=False)
    yield e.AgentWords(at=at, text="please note that this call is recorded")
    yield e.AgentWords(at=at, text="a table by the window")
    for text in ("stop", "uh-huh", "the desk at eight", "a table by the window"):
        for final in (False, True):
            yield e.CallerTranscript(at=at, text=text, final=final)
    yield e.CallerTranscript(at=at, text="the desk at eight", final=True, age_s=9.0)
    yield e.UtteranceStarted(at=at, utterance=call.utterance + 1)
    yield e.UtteranceStarted(at=at, utterance=call.utterance + 1, ours=True)
    yield e.PlaybackDone(at=at, utterance=call.utterance, heard_ms=900.0)
    yield e.PlaybackDone(at=at, utterance=call.utterance - 1, heard_ms=900.0)
    yield e.CallerVoice(at=at, onset_at=at - 0.04)
    yield e.CallerQuiet(at=at, voiced_ms=100.0)
    yield e.CallerQuiet(at=at, voiced_ms=900.0)
    for number in range(min(len(call.tools) + 1, 2)):
        yield e.ToolRequested(at=at, tool_call_id=f"t{number}", name="check", arguments={})
    for tool in call.tools or ("t9",):
        yield e.ToolAnswered(at=at, tool_call_id=tool, ok=True, took_ms=5.0)
    yield e.ToolLate(at=at, tool_call_id="t0", ok=True, took_ms=5.0, how="say")
    yield e.EndOrdered(at=at, reason="end-call tool")
    yield e.HangUpOrdered(at=at, reason="operator")
    yield e.TransferOrdered(at=at, number="+15550101")
    yield e.ActorGaveUp(at=at, why="crash")
    yield e.ReportArrived(at=at, ended_reason="customer-ended-call")


_AGES_S = (0.0, 0.2, 0.6, 2.0, 10.0)
_TIMES = (
    "entered_at", "held_at", "owed_since", "confirmed_at", "farewell_at", "words_at", "voice_at", "onset_at",
    "sound_at", "active_at", "alive_at", "talking_since",
)  # fmt: skip


def coarse(call: Call) -> Hashable:
    """The kind of state: kinds take turns in the search, so that no kind waits until another is done."""
    return (
        call.phase, call.line_up_at is not None, call.agent_up_at is not None, call.ours, call.agent_talking,
        call.held_at is not None, bool(call.tools), call.owed_for, call.closing, call.farewell_at is not None,
        call.caller_voiced,
    )  # fmt: skip


def fine(call: Call, now: float) -> Hashable:
    """What two states must share to count as one: flags, counts up to a few, and times by how long ago they are."""
    if call.phase is Phase.ENDED:
        return call.phase, bool(call.tools), call.farewell_at is None, call.closing  # nothing else matters any more
    ages = tuple(_age(getattr(call, name), now) for name in _TIMES)
    return (
        coarse(call), ages, bool(call.turn), call.greeted, call.dismissed, call.dropped, call.overruled, call.fresh,
        call.cut_short, call.spoke, call.stepped_in, call.words_at >= call.onset_at, call.words_over,
        min(call.lines_said, 3), min(call.unheard, 3), min(call.idle_said, 3), min(len(call.tools), 2),
        min(len(call.keys.typed), 2), bool(call.partial), "recorded" in call.agent_words, bool(call.next_words),
        bool(call.reason),
    )  # fmt: skip


def _age(at: float | None, now: float) -> int | None:
    return None if at is None else bisect_right(_AGES_S, now - at)
