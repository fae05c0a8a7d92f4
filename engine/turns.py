"""Whose turn it is: gives facts the names that the rules decide by. Pure.

Two kinds of event beat one guard: what a fact means in the present state of the call is settled here, so that the
rules table has no conditions and the diagram shows every edge.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from engine import events as e
from engine.phases import Phase

if TYPE_CHECKING:
    from engine.call import Call

USER_INTERRUPTED_GUARD_S = 0.1  # audio just after `user-interrupted` may be of the old turn (reference/vapi.md §4.6)
VERDICT_S = 1.0  # so long we wait for Vapi to say whether it heard the interruption too
LONGEST_BARGE_IN_S = 20.0
LONGEST_SPEECH_S = 120.0
LAST_WORDS_S = 12.0
STREAM_PATIENCE_S = 10.0
TOOL_PATIENCE_S = 20.0  # Vapi's own limit (reference/vapi.md §10)
HAND_OVER_S = 8.0


def name_event(call: Call, fact: e.Event) -> e.Event:
    """The event that this fact is in this call, now."""
    match fact:
        case e.DeadlinePassed():
            return _name_deadline(call, fact.at)
        case e.StreamStarted() if call.phase is Phase.CONNECTING and call.agent_up_at is not None:
            return e.BothLegsUp(at=fact.at, fact="StreamStarted")
        case e.AgentConnected() if call.phase is Phase.CONNECTING and call.line_up_at is not None:
            return e.BothLegsUp(at=fact.at, fact="AgentConnected")
        case e.CallerTranscript():
            return _name_transcript(call, fact)
        case e.StreamEnded() if not fact.stopped:
            return e.StreamLost(at=fact.at, reason=fact.reason)
        case e.AgentSpeechStarted() if call.phase is Phase.INTERRUPTED and call.confirmed_at is not None:
            return e.AgentAnswered(at=fact.at)
        case e.PlaybackDone():
            return _name_playback(call, fact)
        case e.ToolAnswered() if call.tools == (fact.tool_call_id,):
            return e.LastToolAnswered(at=fact.at, tool_call_id=fact.tool_call_id, ok=fact.ok, took_ms=fact.took_ms)
        case _:
            return fact


def _name_transcript(call: Call, fact: e.CallerTranscript) -> e.Event:
    if fact.final:
        return e.CallerSaid(at=fact.at, text=fact.text)
    if len(fact.text.strip()) >= call.policy.partial_chars:
        return e.CallerPartial(at=fact.at, text=fact.text)
    return e.CallerMurmured(at=fact.at, text=fact.text)


def _name_playback(call: Call, fact: e.PlaybackDone) -> e.Event:
    if fact.utterance != call.utterance:
        return e.LateMark(at=fact.at, utterance=fact.utterance)
    if call.farewell_at is not None:
        return e.LastWordsHeard(at=fact.at)
    if call.tools:
        return e.PlaybackDoneToolPending(at=fact.at, utterance=fact.utterance, heard_ms=fact.heard_ms)
    return fact


def _name_deadline(call: Call, at: float) -> e.Event:
    if at >= _latest_end(call):
        return e.DurationPassed(at=at)
    match call.phase:
        case Phase.CONNECTING:
            if call.line_up_at is None:
                return e.StreamOverdue(at=at)
            return e.AgentOverdue(at=at) if call.holding_said else e.HoldingDue(at=at)
        case Phase.LISTENING:
            return e.IdlePassed(at=at)
        case Phase.SPEAKING:
            return e.LastWordsHeard(at=at) if call.farewell_at is not None else e.SpeechOverdue(at=at)
        case Phase.INTERRUPTED:
            if call.farewell_at is not None:
                return e.LastWordsHeard(at=at)
            return e.DebouncePassedToolPending(at=at) if call.tools else e.DebouncePassed(at=at)
        case Phase.TOOL_PENDING:
            return e.ToolOverdue(at=at)
        case Phase.TRANSFERRING:
            return e.HandOverOverdue(at=at)
        case Phase.ENDED:
            return e.DeadlinePassed(at=at)  # never posted: an ended call has no deadline


def deadline_of(call: Call) -> float:
    """When this call must hear `DeadlinePassed`, in seconds on its clock; infinite once it has ended.

    Derived from the state each time, never stored: no timer can be forgotten, and none can outlive its phase.
    """
    return min(_phase_deadline(call), _latest_end(call))


def _latest_end(call: Call) -> float:
    """When the longest duration is reached; a call that leaves or has left is not hurried."""
    leaving = call.phase in (Phase.TRANSFERRING, Phase.ENDED)
    return inf if leaving else call.opened_at + call.policy.max_duration_s


def _phase_deadline(call: Call) -> float:
    match call.phase:
        case Phase.CONNECTING:
            if call.line_up_at is None:
                return call.opened_at + STREAM_PATIENCE_S
            patience_s = call.policy.agent_patience_s if call.holding_said else call.policy.holding_after_s
            return call.line_up_at + patience_s
        case Phase.LISTENING:
            return max(call.entered_at, call.active_at) + call.policy.idle_s
        case Phase.SPEAKING:
            if call.farewell_at is not None:
                return call.farewell_at + LAST_WORDS_S
            return call.entered_at + LONGEST_SPEECH_S
        case Phase.INTERRUPTED:
            return quiet_until(call)
        case Phase.TOOL_PENDING:
            return call.entered_at + TOOL_PATIENCE_S
        case Phase.TRANSFERRING:
            return call.entered_at + HAND_OVER_S
        case Phase.ENDED:
            return inf


def quiet_until(call: Call) -> float:
    """The end of the debounce: the caller is quiet, and Vapi agrees that it was interrupted or had its time to.

    Without the wait for Vapi's verdict, audio that it generated before it noticed would be heard as if it were new.
    """
    if call.caller_voiced:
        return call.entered_at + LONGEST_BARGE_IN_S
    quiet_s = max(call.voice_at, call.entered_at) + call.policy.debounce_s
    if call.confirmed_at is not None:
        return max(quiet_s, call.confirmed_at + USER_INTERRUPTED_GUARD_S)
    if call.agent_talking:
        return max(quiet_s, call.entered_at + VERDICT_S)
    return quiet_s
