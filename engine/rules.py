"""The rules table: in this phase, on this event, go there and ask for that. The truth that everything else reads.

`engine.call.step` runs it, `engine.diagram` prints it, the tests walk it pair by pair. A pair that no row covers is
impossible: only `engine.turns.name_event` gives those names, and only in the phases listed in `NAMED_ONLY_IN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from engine import digits
from engine import effects as f
from engine import events as e
from engine.call import Call
from engine.phases import Phase
from engine.turns import USER_INTERRUPTED_GUARD_S

E = TypeVar("E", bound=e.Event)
Then = Callable[[Call, Any], tuple[f.Effect, ...]]
STAY = None

CONNECTING, LISTENING, SPEAKING = Phase.CONNECTING, Phase.LISTENING, Phase.SPEAKING
INTERRUPTED, TOOL_PENDING = Phase.INTERRUPTED, Phase.TOOL_PENDING
TRANSFERRING, ENDED = Phase.TRANSFERRING, Phase.ENDED
TALKING = (LISTENING, SPEAKING, INTERRUPTED, TOOL_PENDING)  # both legs are up
LIVE = (CONNECTING, *TALKING)


@dataclass(frozen=True, slots=True)
class Rule:
    phase: Phase
    event: type[e.Event]
    to: Phase | None  # None: stay, and let the phase's deadline run
    then: Then
    why: str = ""


def rule(
    phase: Phase, event: type[E], to: Phase | None, then: Callable[[Call, E], tuple[f.Effect, ...]], why: str = ""
) -> Rule:
    """One row. A function, so that the type checker sees that the action fits the event."""
    return Rule(phase, event, to, then, why)


def stay(phase: Phase, *events: type[e.Event], why: str = "") -> Iterator[Rule]:
    """Rows for what is known, noted, and changes nothing in this phase."""
    for event in events:
        yield rule(phase, event, STAY, nothing, why=why)


# --- what to ask for ------------------------------------------------------------------------------------------------


def nothing(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return ()


def hold(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.Hold(),)


def cut_in(call: Call, event: e.CallerSpoke) -> tuple[f.Effect, ...]:
    """The caller's words end the speech; while Vapi talks on, nothing of it is heard any more."""
    return (f.Drop(reason=event.reason, words=event.text, guard_s=None if call.agent_talking else 0.0),)


def vapi_cut(call: Call, event: e.AgentInterrupted) -> tuple[f.Effect, ...]:
    """Vapi stopped: what it said and nobody heard is gone, and a little of it may still be on its way."""
    return (f.Drop(reason="vapi", words=call.partial or call.turn, guard_s=USER_INTERRUPTED_GUARD_S),)


def speech_over(call: Call, event: e.AgentSpeechStopped) -> tuple[f.Effect, ...]:
    """Vapi finished what the caller cut into: what comes next is new."""
    return () if call.confirmed_at is not None else (f.Keep(),)


def keep(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.Keep(),)


def drop_late(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.Drop(reason="late", guard_s=None if call.agent_talking else 0.0),)


def overdue(call: Call, event: e.SpeechOverdue) -> tuple[f.Effect, ...]:
    return (f.Drop(reason="speech too long"), f.LetSpeak(reason="speech too long"))


def let_speak(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.LetSpeak(),)


def go_on(call: Call, event: e.FalseAlarm) -> tuple[f.Effect, ...]:
    return (f.LetSpeak(reason=event.reason),)


def overrule(call: Call, event: e.AgentTalksOn) -> tuple[f.Effect, ...]:
    """The caller's words count, and Vapi did not notice them: have it stop (reference/vapi.md §5.2)."""
    return (f.StopAgent(),)


def say(kind: str) -> Then:
    """One of our lines; its number is counted when the event is noted."""
    return lambda call, event: (f.SayLine(kind=kind, n=call.said[kind] - 1),)


def say_progress(call: Call, event: e.ProgressDue) -> tuple[f.Effect, ...]:
    line = f.SayLine(kind="progress", n=call.said["progress"] - 1)
    if call.lines_said != NUDGED_LINE:
        return (line,)
    if call.owed_for == "stall" and not call.agent_talking:
        content = "The caller did not hear the end of what you said. Say it again."
    elif call.owed_for == "words" and call.onset_at > call.words_at:
        # A sound of the caller's after their words may have made Vapi forget its answer. One that is slow has not.
        content = "The caller is waiting for your answer."
    else:
        return (line,)
    return (line, f.TellAgent(role="system", content=content, respond=True))


def ask_again(call: Call, event: e.UnheardDue) -> tuple[f.Effect, ...]:
    """Nobody knows what the caller said; and if Vapi stopped for it, it was a noise, and the rest is owed."""
    if call.owed_since is None:
        return (f.SayLine(kind="unheard", n=call.said["unheard"] - 1),)
    content = "You were interrupted by a noise; the caller said nothing. Go on with what you were saying."
    return (f.TellAgent(role="system", content=content, respond=True),)


def take_turn(call: Call, event: e.CallerTurnOver) -> tuple[f.Effect, ...]:
    return (f.TakeTurn(text=event.text),)


def step_in(call: Call, event: e.CallerTalksLong) -> tuple[f.Effect, ...]:
    content = "The caller has been talking for long. Step in politely: sum up what they want, or ask."
    return (f.LetSpeak(reason="caller talks long"), f.TellAgent(role="system", content=content, respond=True))


def key_in(call: Call, event: e.DigitPressed) -> tuple[f.Effect, ...]:
    return (f.Drop(reason="key", guard_s=None if call.agent_talking else 0.0),)


def tell_keys(call: Call, event: e.KeysTyped) -> tuple[f.Effect, ...]:
    return (f.TellAgent(role="system", content=digits.words(event.digits), respond=True),)


def key_in_and_tell(call: Call, event: e.KeysTyped) -> tuple[f.Effect, ...]:
    drop = f.Drop(reason="key", guard_s=None if call.agent_talking else 0.0)
    return (drop, *tell_keys(call, event))


def run_tool(call: Call, event: e.ToolRequested) -> tuple[f.Effect, ...]:
    return (f.RunTool(tool_call_id=event.tool_call_id, name=event.name, arguments=event.arguments),)


def hand_over(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    """Twilio takes the call back: our words, then a person or the end. Nobody talks over them."""
    return (
        f.CancelTools(reason=call.reason),
        f.EndAgent(reason=call.reason),
        f.HandOver(words=call.next_words, number=call.next_number, reason=call.reason),
    )


def rescue(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.RescueByRest(words=call.next_words, number=call.next_number, reason=call.reason),)


def leave(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.CancelTools(reason=call.reason), f.EndAgent(reason=call.reason), f.HangUp(reason=call.reason))


# --- the table ------------------------------------------------------------------------------------------------------


def _rows() -> Iterator[Rule]:
    yield from _connecting()
    yield from _listening()
    yield from _speaking()
    yield from _interrupted()
    yield from _tool_pending()
    yield from _anywhere()
    yield from _transferring()
    possible = [event for event in EVENTS if event not in NAMED_ONLY_IN]
    yield from stay(ENDED, *possible, why="the call is over, and stays over")


def _connecting() -> Iterator[Rule]:
    yield from stay(CONNECTING, e.StreamStarted, why="the agent is not there yet")
    yield from stay(CONNECTING, e.AgentConnected, why="the line is not there yet")
    yield rule(CONNECTING, e.BothLegsUp, LISTENING, nothing)
    yield rule(CONNECTING, e.HoldingDue, STAY, say("holding"))
    yield rule(CONNECTING, e.AgentOverdue, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.StreamOverdue, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.AgentEnded, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.LastWordsHeard, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.ToolRequested, STAY, run_tool, why="the agent may be ahead of the line")
    yield from stay(CONNECTING, e.ToolAnswered, e.LastToolAnswered)
    yield rule(CONNECTING, e.EndOrdered, ENDED, leave)
    ours = (e.UtteranceStarted, e.PlaybackDone, e.PlaybackDoneToolPending, e.LateMark)
    yield from stay(CONNECTING, *ours, why="our holding sentence, not the agent")
    yield from stay(CONNECTING, e.DigitPressed, why="nobody is there to be told")
    yield from stay(CONNECTING, *BARGE_INS, why="there is nobody to interrupt yet")


def _listening() -> Iterator[Rule]:
    yield rule(LISTENING, e.UtteranceStarted, SPEAKING, nothing)
    yield rule(LISTENING, e.ToolRequested, TOOL_PENDING, run_tool)
    yield from stay(LISTENING, e.ToolAnswered)
    yield from stay(LISTENING, e.LastToolAnswered, why="its time was over; the answer is in the journal")
    yield from stay(LISTENING, e.PlaybackDone, e.PlaybackDoneToolPending, why="late: the phase had ended already")
    yield rule(LISTENING, e.LastWordsHeard, ENDED, leave)
    yield rule(LISTENING, e.EndOrdered, ENDED, leave)
    yield rule(LISTENING, e.AgentEnded, ENDED, leave)
    yield rule(LISTENING, e.CallerVoice, STAY, hold, why="the agent does not begin while the caller speaks")
    yield rule(LISTENING, e.FalseAlarm, STAY, go_on, why="background is no reason to be silent")
    yield rule(LISTENING, e.DebouncePassed, STAY, let_speak, why="the caller is quiet: the agent may begin")
    yield rule(LISTENING, e.CallerTalksLong, STAY, step_in)
    yield rule(LISTENING, e.FillerDue, STAY, say("filler"))
    yield rule(LISTENING, e.ProgressDue, STAY, say_progress)
    yield rule(LISTENING, e.UnheardDue, STAY, ask_again)
    yield rule(LISTENING, e.AgentStalled, TRANSFERRING, hand_over)
    yield rule(LISTENING, e.IdlePromptDue, STAY, say("idle"))
    yield rule(LISTENING, e.GoodbyeDue, STAY, say("goodbye"), why="ends with its last word, unless the caller speaks")
    yield rule(LISTENING, e.IdlePassed, TRANSFERRING, hand_over)
    yield from stay(LISTENING, e.CallerSpoke, why="the agent is not heard: the caller's turn")
    yield rule(LISTENING, e.AgentInterrupted, STAY, vapi_cut, why="it stopped before it was heard")
    yield rule(LISTENING, e.DigitPressed, STAY, nothing, why="collected until the number is complete")
    yield rule(LISTENING, e.KeysTyped, STAY, tell_keys)


def _speaking() -> Iterator[Rule]:
    yield rule(SPEAKING, e.CallerVoice, STAY, hold, why="silent at once; what it was is decided by its words")
    yield rule(SPEAKING, e.FalseAlarm, STAY, go_on, why="goes on with the frame that was not heard")
    yield rule(SPEAKING, e.CallerSpoke, INTERRUPTED, cut_in)
    yield rule(SPEAKING, e.AgentInterrupted, INTERRUPTED, vapi_cut)
    yield from stay(SPEAKING, e.AgentFellSilent, why="a speech that may not be interrupted")
    yield rule(SPEAKING, e.DigitPressed, INTERRUPTED, key_in, why="a key cuts in like a word")
    yield rule(SPEAKING, e.KeysTyped, INTERRUPTED, key_in_and_tell)
    yield from stay(SPEAKING, e.KeyKept, why="a speech that may not be interrupted; told after it")
    yield rule(SPEAKING, e.PlaybackDone, LISTENING, nothing)
    yield rule(SPEAKING, e.PlaybackDoneToolPending, TOOL_PENDING, nothing)
    yield rule(SPEAKING, e.LastWordsHeard, ENDED, leave)
    yield from stay(SPEAKING, e.EndOrdered, why="ends with the last word, unless the caller cuts in")
    yield rule(SPEAKING, e.SpeechOverdue, LISTENING, overdue)
    yield from stay(SPEAKING, e.UtteranceStarted, why="one utterance follows another without a pause")
    yield rule(SPEAKING, e.ToolRequested, STAY, run_tool, why="the agent says that it is looking")
    yield from stay(SPEAKING, e.ToolAnswered, e.LastToolAnswered)
    yield from stay(SPEAKING, e.AgentEnded, why="its last words are still to be heard")


def _interrupted() -> Iterator[Rule]:
    yield rule(INTERRUPTED, e.DebouncePassed, LISTENING, let_speak)
    yield rule(INTERRUPTED, e.DebouncePassedToolPending, TOOL_PENDING, let_speak)
    yield rule(INTERRUPTED, e.AgentTalksOn, STAY, overrule, why="Vapi did not notice the words")
    yield rule(INTERRUPTED, e.LastWordsHeard, ENDED, leave)
    yield from stay(INTERRUPTED, e.CallerVoice, why="the caller goes on: the debounce starts anew")
    yield from stay(INTERRUPTED, e.CallerSpoke, why="the caller goes on: the latest words win")
    yield rule(INTERRUPTED, e.AgentInterrupted, STAY, vapi_cut, why="Vapi agrees")
    yield rule(INTERRUPTED, e.AgentSpeechStopped, STAY, speech_over, why="all of it is said: what comes now is new")
    yield rule(INTERRUPTED, e.AgentSpeechStarted, STAY, keep, why="the answer, for when the caller is quiet")
    yield rule(INTERRUPTED, e.UtteranceStarted, STAY, drop_late, why="it left before the order to be silent came")
    yield from stay(INTERRUPTED, e.PlaybackDone, e.PlaybackDoneToolPending, why="late: what it ends was cleared")
    yield rule(INTERRUPTED, e.DigitPressed, STAY, nothing, why="collected until the number is complete")
    yield rule(INTERRUPTED, e.KeysTyped, STAY, tell_keys)
    yield rule(INTERRUPTED, e.ToolRequested, STAY, run_tool)
    yield from stay(INTERRUPTED, e.ToolAnswered, e.LastToolAnswered)
    yield from stay(INTERRUPTED, e.AgentEnded, why="ends with the debounce")
    yield from stay(INTERRUPTED, e.EndOrdered, why="the caller cut into the goodbye: called off")


def _tool_pending() -> Iterator[Rule]:
    yield rule(TOOL_PENDING, e.LastToolAnswered, LISTENING, nothing)
    yield from stay(TOOL_PENDING, e.ToolAnswered, why="another tool still works")
    yield rule(TOOL_PENDING, e.ToolRequested, STAY, run_tool)
    yield rule(TOOL_PENDING, e.ToolOverdue, LISTENING, nothing)
    yield rule(TOOL_PENDING, e.UtteranceStarted, SPEAKING, nothing)
    yield from stay(TOOL_PENDING, e.PlaybackDone, e.PlaybackDoneToolPending, why="late: the phase had ended already")
    yield rule(TOOL_PENDING, e.LastWordsHeard, ENDED, leave)
    yield rule(TOOL_PENDING, e.EndOrdered, ENDED, leave)
    yield rule(TOOL_PENDING, e.AgentEnded, ENDED, leave)
    yield rule(TOOL_PENDING, e.CallerVoice, STAY, hold, why="the agent does not begin while the caller speaks")
    yield rule(TOOL_PENDING, e.FalseAlarm, STAY, go_on)
    yield rule(TOOL_PENDING, e.DebouncePassed, STAY, let_speak)
    yield rule(TOOL_PENDING, e.FillerDue, STAY, say("filler"))
    yield rule(TOOL_PENDING, e.ProgressDue, STAY, say_progress)
    yield from stay(TOOL_PENDING, e.UnheardDue, why="the tool is what is waited for")
    yield from stay(TOOL_PENDING, e.CallerSpoke, why="the tool works on; the caller may speak")
    yield rule(TOOL_PENDING, e.AgentInterrupted, STAY, vapi_cut, why="it stopped before it was heard")
    yield rule(TOOL_PENDING, e.DigitPressed, STAY, nothing, why="collected until the number is complete")
    yield rule(TOOL_PENDING, e.KeysTyped, STAY, tell_keys)


def _anywhere() -> Iterator[Rule]:
    for phase in TALKING:
        yield rule(phase, e.CallerTurnOver, STAY, take_turn, why="one turn, however often they corrected themselves")
        yield from stay(phase, e.LateMark, why="of an utterance that was cleared or is followed by another")
        yield from stay(phase, e.StreamStarted, e.AgentConnected, why="a second start changes nothing")
    for phase in LIVE:
        for trouble in (e.AgentLost, e.StreamLost, e.ActorGaveUp):
            yield rule(phase, trouble, TRANSFERRING, hand_over)
        for order in (e.DurationPassed, e.HangUpOrdered, e.TransferOrdered):
            yield rule(phase, order, TRANSFERRING, hand_over)
        for end in (e.StreamEnded, e.CallerHungUp, e.HandedOver):
            yield rule(phase, end, ENDED, leave)
    for phase in (*LIVE, TRANSFERRING):
        yield from stay(phase, e.CallerQuiet, e.CallerSaid, e.CallerMurmured, e.VoiceNoted, e.ReportArrived)
        yield from stay(phase, e.AgentTranscript, e.AgentWords)
        yield from stay(phase, e.ToolLate, why="said or put to the model as soon as nobody speaks")
        if phase is not INTERRUPTED:
            word = "told by word; heard by UtteranceStarted and PlaybackDone"
            yield from stay(phase, e.AgentSpeechStarted, e.AgentSpeechStopped, why=word)


def _transferring() -> Iterator[Rule]:
    yield rule(TRANSFERRING, e.HandedOver, ENDED, leave)
    yield rule(TRANSFERRING, e.CallerHungUp, ENDED, leave)
    yield rule(TRANSFERRING, e.HandOverOverdue, ENDED, rescue)
    yield rule(TRANSFERRING, e.StreamStarted, STAY, hand_over, why="the stream opened too late: send it on")
    yield from stay(TRANSFERRING, e.StreamEnded, e.StreamLost, why="Twilio now comes for its TwiML")
    yield from stay(
        TRANSFERRING, e.HangUpOrdered, e.EndOrdered, e.TransferOrdered, e.ActorGaveUp, why="leaving already"
    )
    yield from stay(TRANSFERRING, e.AgentLost, e.AgentEnded, e.AgentConnected, why="the agent is not needed any more")
    heard = (e.UtteranceStarted, e.PlaybackDone, e.PlaybackDoneToolPending, e.LastWordsHeard, e.LateMark)
    yield from stay(TRANSFERRING, *heard, *BARGE_INS, why="no longer ours to hear")
    useless = (e.ToolRequested, e.ToolAnswered, e.LastToolAnswered, e.DigitPressed)
    yield from stay(TRANSFERRING, *useless, why="nobody is there to use it")


BARGE_INS = (e.CallerVoice, e.CallerSpoke, e.AgentInterrupted)
NUDGED_LINE = 2  # with the second line of ours in a row an agent that may not know is told that the caller waits

ONLY_BEFORE_NAMING = frozenset({e.CallerTranscript, e.DeadlinePassed})
"""Facts that `name_event` always renames."""

NAMED_ONLY_IN: dict[type[e.Event], tuple[Phase, ...]] = {
    e.BothLegsUp: (CONNECTING,),
    e.StreamOverdue: (CONNECTING,),
    e.HoldingDue: (CONNECTING,),
    e.AgentOverdue: (CONNECTING,),
    e.IdlePassed: (LISTENING,),
    e.IdlePromptDue: (LISTENING,),
    e.GoodbyeDue: (LISTENING,),
    e.UnheardDue: (LISTENING, TOOL_PENDING),
    e.FillerDue: (LISTENING, TOOL_PENDING),
    e.ProgressDue: (LISTENING, TOOL_PENDING),
    e.AgentStalled: (LISTENING,),
    e.CallerTurnOver: TALKING,
    e.CallerTalksLong: (LISTENING,),
    e.FalseAlarm: (LISTENING, SPEAKING, TOOL_PENDING),
    e.AgentFellSilent: (SPEAKING,),
    e.AgentTalksOn: (INTERRUPTED,),
    e.KeyKept: (SPEAKING,),
    e.KeysTyped: TALKING,
    e.SpeechOverdue: (SPEAKING,),
    e.DebouncePassed: (LISTENING, INTERRUPTED, TOOL_PENDING),
    e.DebouncePassedToolPending: (INTERRUPTED,),
    e.ToolOverdue: (TOOL_PENDING,),
    e.HandOverOverdue: (TRANSFERRING,),
    e.DurationPassed: LIVE,
}
"""Names that exist in these phases only; elsewhere they would be a bug (`NotInThisPhase`)."""

EVENTS: tuple[type[e.Event], ...] = tuple(
    event for event in e.Event.__subclasses__() if event not in ONLY_BEFORE_NAMING
)

RULES: tuple[Rule, ...] = tuple(_rows())
RULE_FOR: dict[tuple[Phase, type[e.Event]], Rule] = {(r.phase, r.event): r for r in RULES}
