"""Whose turn it is: gives facts the names that the rules decide by, and says when a call must look at the clock. Pure.

Two kinds of event beat one guard: what a fact means in the present state of the call is settled here, so that the
rules table has no conditions and the diagram shows every edge. Deadlines are derived from the state each time, never
stored: no timer can be forgotten, and none can outlive its phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from engine import digits
from engine import events as e
from engine.agent import Turns
from engine.interrupting import Judge
from engine.phases import Phase

if TYPE_CHECKING:
    from engine.call import Call

USER_INTERRUPTED_GUARD_S = 0.1  # audio just after `user-interrupted` may be of the old turn (reference/vapi.md §4.6)
SOUND_FOLLOWS_S = 0.5  # Vapi says that it speaks: its sound is on its way, and waits a little before it leaves
PAUSE_S = 0.24  # the pause within a word ("ex-cuse me") is longer than the detector waits before it says quiet
WORDS_FOLLOW_S = 0.3  # words come at least so long after the voice
VERDICT_S = 1.0  # so long Vapi has to notice the caller's words by itself
LONGEST_SHUT_S = 2.0  # Vapi talks on whatever it is told: so long nobody hears it
LONGEST_SPEECH_S = 120.0
LAST_WORDS_S = 12.0
STREAM_PATIENCE_S = 10.0
BACKGROUND_QUIET_S = 8.0  # a caller who waits for a slow tool hears so often that we are still on it
TOOL_PATIENCE_S = 20.0  # Vapi's own limit (reference/vapi.md §10)
HAND_OVER_S = 8.0
GO_ON_S = 1.2  # Vapi stopped for what may have been a noise: so long after it we wait for words
MOST_UNHEARD = 2  # the caller was asked so often to say it again, and the agent gave no sign of life: it is not there
GIVE_UP_TIMES = 3  # an agent that shows life, but never speaks, gets so many times the patience

Due = tuple[float, Callable[[float], e.Event]]
"""When something is due, and what it is then called."""


def name_event(call: Call, fact: e.Event) -> e.Event:  # noqa: PLR0912 — one branch a fact
    """The event that this fact is in this call, now."""
    match fact:
        case e.DeadlinePassed():
            return _name_deadline(call, fact.at)
        case e.StreamStarted() if call.phase is Phase.CONNECTING and call.agent_up_at is not None:
            return e.BothLegsUp(at=fact.at, fact="StreamStarted")
        case e.AgentConnected() if call.phase is Phase.CONNECTING and call.line_up_at is not None:
            return e.BothLegsUp(at=fact.at, fact="AgentConnected")
        case e.CallerVoice() if _is_protected(call) or not call.policy.turns.hold:
            return e.VoiceNoted(at=fact.at, onset_at=fact.onset_at)
        case e.CallerQuiet() if call.dismissed and call.phase is Phase.SPEAKING and call.held_at is not None:
            return e.FalseAlarm(at=fact.at, reason=call.dismissed)
        case e.CallerTranscript():
            return _name_transcript(call, fact)
        case e.AgentInterrupted() if _is_protected(call):
            return e.AgentFellSilent(at=fact.at)
        case e.StreamEnded() if not fact.stopped:
            return e.StreamLost(at=fact.at, reason=fact.reason)
        case e.PlaybackDone():
            return _name_playback(call, fact)
        case e.ToolAnswered() if call.tools == (fact.tool_call_id,):
            return e.LastToolAnswered(
                at=fact.at,
                tool_call_id=fact.tool_call_id,
                ok=fact.ok,
                took_ms=fact.took_ms,
                goes_on=fact.goes_on,
            )
        case e.DigitPressed() if _is_protected(call):
            return e.KeyKept(at=fact.at, digit=fact.digit)
        case e.DigitPressed():
            typed = digits.press(call.keys, fact.digit, fact.at, call.policy.digits)[1]
            return fact if typed is None or call.phase not in _TALKING else e.KeysTyped(at=fact.at, digits=typed)
        case _:
            return fact


_TALKING = (Phase.LISTENING, Phase.SPEAKING, Phase.INTERRUPTED, Phase.TOOL_PENDING)


@lru_cache(maxsize=64)
def judge_for(turns: Turns, local_minutes: int | None) -> Judge:
    """The judge of a policy; agents are few, calls are many."""
    return Judge.of(turns, local_minutes=local_minutes)


def _is_protected(call: Call) -> bool:
    """Whether what is being heard may not be interrupted."""
    if call.phase is not Phase.SPEAKING:
        return False
    policy = call.policy
    if call.closing:
        return not policy.turns.interruptible_goodbye
    if call.ours:
        return False
    if not call.greeted and policy.greeting_protected:
        return True
    return bool(policy.turns.uninterruptible) and judge_for(policy.turns, policy.local_minutes).is_protected(
        call.agent_words
    )


def _name_transcript(call: Call, fact: e.CallerTranscript) -> e.Event:
    """Words that count interrupts what is being heard; a final one makes the caller's turn in any case."""
    turns = call.policy.turns
    ruling = judge_for(turns, call.policy.local_minutes).judge(
        fact.text,
        final=fact.final,
        confidence=fact.confidence,
        age_s=fact.age_s,
        agent_words=call.agent_words if call.phase is Phase.SPEAKING else "",
    )
    speaking = call.phase is Phase.SPEAKING
    if speaking and (_is_protected(call) or (fact.final and call.onset_at < call.entered_at)):
        # Spoken before this speech began: the agent is answering it already.
        return _said(fact) if fact.final else e.CallerMurmured(at=fact.at, text=fact.text, why="not now")
    if ruling.interrupts and (speaking or not fact.final):
        return e.CallerSpoke(at=fact.at, text=fact.text, reason=ruling.reason, final=fact.final)
    held_in_vain = speaking and call.held_at is not None and ruling.reason in ("backchannel", "echo")
    if held_in_vain and not call.caller_voiced:
        return e.FalseAlarm(at=fact.at, reason=ruling.reason)
    if fact.final and ruling.reason not in ("echo", "stale") and not (speaking and ruling.reason == "backchannel"):
        return _said(fact)
    return e.CallerMurmured(at=fact.at, text=fact.text, why=ruling.reason)


def _said(fact: e.CallerTranscript) -> e.Event:
    return e.CallerSaid(at=fact.at, text=fact.text)


def _name_playback(call: Call, fact: e.PlaybackDone) -> e.Event:
    if fact.utterance != call.utterance:
        return e.LateMark(at=fact.at, utterance=fact.utterance)
    if call.farewell_at is not None or (call.closing and call.ours):
        return e.LastWordsHeard(at=fact.at)
    if call.tools:
        return e.PlaybackDoneToolPending(at=fact.at, utterance=fact.utterance, heard_ms=fact.heard_ms)
    return fact


# --- deadlines ------------------------------------------------------------------------------------------------------


def deadline_of(call: Call) -> float:
    """When this call must hear `DeadlinePassed`, in seconds on its clock; infinite once it has ended."""
    return min((at for at, _ in waits(call)), default=inf)


def _name_deadline(call: Call, at: float) -> e.Event:
    due = min(waits(call), key=lambda one: one[0], default=None)
    return e.DeadlinePassed(at=at) if due is None else due[1](at)  # an ended call has no deadline


def waits(call: Call) -> Iterator[Due]:
    """All that this call waits for. The earliest happens; of two at the same moment the first."""
    phase = call.phase
    if phase is Phase.ENDED:
        return
    if phase is not Phase.TRANSFERRING:  # a call that leaves is not hurried
        yield call.opened_at + call.policy.max_duration_s, lambda at: e.DurationPassed(at=at)
    if call.keys.typed and phase in _TALKING and not _is_protected(call):
        yield digits.due_at(call.keys, call.policy.digits), lambda at: e.KeysTyped(at=at, digits=call.keys.typed)
    words = call.turn or (call.partial if call.policy.turns.act_on == "partials" else "")
    if words and phase in _TALKING:
        yield _turn_over_at(call), lambda at: e.CallerTurnOver(at=at, text=words)
    yield from WAITS_IN[phase](call)


def _turn_over_at(call: Call) -> float:
    """When the caller's words are a turn: so long after the last of them, and the voice, it has been quiet."""
    turns = call.policy.turns
    if call.caller_voiced:
        return max(call.words_at, call.onset_at) + turns.longest_hold_ms / 1000
    return max(call.words_at, call.voice_at) + turns.debounce_ms / 1000


def _due_connecting(call: Call) -> Iterator[Due]:
    policy = call.policy
    if call.line_up_at is None:
        yield call.opened_at + STREAM_PATIENCE_S, lambda at: e.StreamOverdue(at=at)
        return
    yield call.line_up_at + policy.agent_patience_s, lambda at: e.AgentOverdue(at=at)
    if "holding" in policy.lines and not call.ours:
        after_s = policy.silence.progress_after_ms / 1000 if call.lines_said else policy.holding_after_s
        yield call.sound_at + after_s, lambda at: e.HoldingDue(at=at)


def _due_listening(call: Call) -> Iterator[Due]:
    if call.farewell_at is not None:
        yield call.farewell_at, lambda at: e.LastWordsHeard(at=at)
    yield from _due_gate(call)
    if call.caller_voiced:
        turns = call.policy.turns
        if turns.longest_caller_s and not call.stepped_in and call.words_at > call.talking_since:
            yield call.talking_since + turns.longest_caller_s, lambda at: e.CallerTalksLong(at=at)
    elif call.owed_since is not None:
        yield from _due_owed(call, call.owed_since)
    else:
        yield from _due_idle(call)


def _due_owed(call: Call, since: float) -> Iterator[Due]:
    """The agent owes something to hear: a filler, progress, and in the end the truth."""
    silence, lines = call.policy.silence, call.policy.lines
    patience_s = silence.give_up_s
    if call.phase is not Phase.TOOL_PENDING:  # a tool has its own patience
        last_s = min(max(since, call.alive_at, call.voice_at) + patience_s, since + GIVE_UP_TIMES * patience_s)
        yield last_s, lambda at: e.AgentStalled(at=at)
    if call.ours:
        return
    quiet_at = max(since, call.sound_at)
    speaks = call.agent_talking and call.owed_for != "stall"  # its sound is on its way, if it is not mute
    not_before = call.talking_at + SOUND_FOLLOWS_S if speaks else 0.0

    def after(seconds: float) -> float:
        return max(quiet_at + seconds, not_before)

    if call.lines_said:
        if "progress" in lines:
            yield after(silence.progress_after_ms / 1000), lambda at: e.ProgressDue(at=at)
    elif call.owed_for == "voice":
        wait_s = GO_ON_S if call.cut_short else silence.unheard_after_ms / 1000
        if call.unheard >= MOST_UNHEARD and call.phase is not Phase.TOOL_PENDING:
            yield after(wait_s), lambda at: e.AgentStalled(at=at)
        else:
            yield after(wait_s), lambda at: e.UnheardDue(at=at)
    elif call.owed_for == "start":
        if "progress" in lines:
            yield after(call.policy.holding_after_s), lambda at: e.ProgressDue(at=at)
    elif "filler" in lines:
        quiet_at = max(quiet_at, call.words_at)  # more words may follow those that are known
        yield after(silence.filler_after_ms / 1000), lambda at: e.FillerDue(at=at)


def _due_idle(call: Call) -> Iterator[Due]:
    """The caller's turn, and the caller is silent: prompt, prompt, goodbye."""
    policy = call.policy
    since = max(call.active_at, call.entered_at if not call.idle_said else 0.0)
    prompts = policy.silence.idle_prompts_s
    if call.ours:
        return
    if call.closing:
        yield call.sound_at + LAST_WORDS_S, lambda at: e.IdlePassed(at=at)
        return
    if call.background and "progress" in policy.lines and call.agent_up_at is not None:
        yield max(since, call.sound_at) + BACKGROUND_QUIET_S, lambda at: e.ProgressDue(at=at)
        return
    if call.idle_said < len(prompts) and "idle" in policy.lines and prompts[call.idle_said] < policy.idle_s:
        yield since + prompts[call.idle_said], lambda at: e.IdlePromptDue(at=at)
    elif "goodbye" in policy.lines:
        yield since + policy.idle_s, lambda at: e.GoodbyeDue(at=at)
    else:
        yield since + policy.idle_s, lambda at: e.IdlePassed(at=at)


def _due_speaking(call: Call) -> Iterator[Due]:
    if call.farewell_at is not None:
        yield call.farewell_at + LAST_WORDS_S, lambda at: e.LastWordsHeard(at=at)
    else:
        yield call.entered_at + LONGEST_SPEECH_S, lambda at: e.SpeechOverdue(at=at)
    if call.held_at is None:
        return
    turns = call.policy.turns
    if call.caller_voiced:
        yield (
            call.held_at + turns.longest_hold_ms / 1000,
            lambda at: e.FalseAlarm(at=at, reason="no words"),
        )
    else:
        if call.voiced_ms < turns.min_speech_ms:
            yield call.voice_at + PAUSE_S, lambda at: e.FalseAlarm(at=at, reason="noise")
        last = max(call.onset_at + turns.confirm_ms / 1000, call.voice_at + WORDS_FOLLOW_S)
        yield last, lambda at: e.FalseAlarm(at=at, reason="no words")


def _due_gate(call: Call) -> Iterator[Due]:
    """The agent waits for the caller to be quiet, but not for background that never is."""
    if call.held_at is None:
        return
    turns = call.policy.turns
    if call.caller_voiced:
        last = max(call.held_at, call.words_at) + turns.longest_hold_ms / 1000
        yield last, lambda at: e.FalseAlarm(at=at, reason="background")
    else:
        yield max(call.voice_at, call.held_at) + turns.debounce_ms / 1000, lambda at: e.DebouncePassed(at=at)


def _due_interrupted(call: Call) -> Iterator[Due]:
    if call.farewell_at is not None:
        yield call.farewell_at + LAST_WORDS_S, lambda at: e.LastWordsHeard(at=at)
    old_speech = call.agent_talking and not call.fresh and call.confirmed_at is None
    if old_speech and not call.overruled:
        yield call.entered_at + VERDICT_S, lambda at: e.AgentTalksOn(at=at)
    if call.tools:
        yield quiet_until(call), lambda at: e.DebouncePassedToolPending(at=at)
    else:
        yield quiet_until(call), lambda at: e.DebouncePassed(at=at)


def _due_tool_pending(call: Call) -> Iterator[Due]:
    if call.farewell_at is not None:  # the agent left while it was interrupted: nobody will use the answer
        yield call.farewell_at, lambda at: e.LastWordsHeard(at=at)
    yield call.entered_at + TOOL_PATIENCE_S, lambda at: e.ToolOverdue(at=at)
    yield from _due_gate(call)
    if call.owed_since is not None and not call.caller_voiced:
        yield from _due_owed(call, call.owed_since)


def _due_transferring(call: Call) -> Iterator[Due]:
    yield call.entered_at + HAND_OVER_S, lambda at: e.HandOverOverdue(at=at)


WAITS_IN: dict[Phase, Callable[[Call], Iterator[Due]]] = {
    Phase.CONNECTING: _due_connecting,
    Phase.LISTENING: _due_listening,
    Phase.SPEAKING: _due_speaking,
    Phase.INTERRUPTED: _due_interrupted,
    Phase.TOOL_PENDING: _due_tool_pending,
    Phase.TRANSFERRING: _due_transferring,
}


def quiet_until(call: Call) -> float:
    """The end of the debounce: the caller is quiet, and Vapi agrees that it was interrupted or had its time to.

    Without the wait for Vapi's verdict, audio that it generated before it noticed would be heard as if it were new.
    """
    turns = call.policy.turns
    if call.caller_voiced:
        return max(call.entered_at, call.words_at) + turns.longest_hold_ms / 1000
    quiet_at = max(call.voice_at, call.entered_at) + turns.debounce_ms / 1000
    if call.keys.typed:
        quiet_at = max(quiet_at, digits.due_at(call.keys, call.policy.digits))
    if call.confirmed_at is not None:
        return max(quiet_at, call.confirmed_at + USER_INTERRUPTED_GUARD_S)
    if call.agent_talking and not call.fresh:
        return max(quiet_at, max(call.entered_at, call.words_at) + LONGEST_SHUT_S)
    return quiet_at
