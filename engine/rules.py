"""The rules table: in this phase, on this event, go there and ask for that. The truth that everything else reads.

`engine.call.step` runs it, `engine.diagram` prints it, the tests walk it pair by pair. A pair that no row covers is
impossible: only `engine.turns.name_event` gives those names, and only in the phases listed in `NAMED_ONLY_IN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from engine import effects as f
from engine import events as e
from engine.call import Call
from engine.phases import Phase

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


def hush(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.Hush(utterance=call.utterance),)


def let_speak(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.LetSpeak(),)


def say_holding(call: Call, event: e.Event) -> tuple[f.Effect, ...]:
    return (f.SayHolding(),)


def run_tool(call: Call, event: e.ToolRequested) -> tuple[f.Effect, ...]:
    return (f.RunTool(tool_call_id=event.tool_call_id, name=event.name, arguments=event.arguments),)


def tell_digit(call: Call, event: e.DigitPressed) -> tuple[f.Effect, ...]:
    words = f"The caller pressed {event.digit} on the keypad."
    return (f.TellAgent(role="system", content=words, respond=True),)


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
    yield rule(CONNECTING, e.HoldingDue, STAY, say_holding)
    yield rule(CONNECTING, e.AgentOverdue, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.StreamOverdue, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.AgentEnded, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.LastWordsHeard, TRANSFERRING, hand_over)
    yield rule(CONNECTING, e.ToolRequested, STAY, run_tool, why="the agent may be ahead of the line")
    yield from stay(CONNECTING, e.ToolAnswered, e.LastToolAnswered)
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
    yield rule(LISTENING, e.AgentEnded, ENDED, leave)
    yield rule(LISTENING, e.IdlePassed, TRANSFERRING, hand_over)
    yield from stay(LISTENING, *BARGE_INS, why="the agent is not heard: this is the caller's turn")


def _speaking() -> Iterator[Rule]:
    yield rule(SPEAKING, e.CallerVoice, INTERRUPTED, hush)
    yield rule(SPEAKING, e.CallerPartial, INTERRUPTED, hush)
    yield rule(SPEAKING, e.AgentInterrupted, INTERRUPTED, hush)
    yield rule(SPEAKING, e.PlaybackDone, LISTENING, nothing)
    yield rule(SPEAKING, e.PlaybackDoneToolPending, TOOL_PENDING, nothing)
    yield rule(SPEAKING, e.LastWordsHeard, ENDED, leave)
    yield rule(SPEAKING, e.SpeechOverdue, LISTENING, hush)
    yield from stay(SPEAKING, e.UtteranceStarted, why="one utterance follows another without a pause")
    yield rule(SPEAKING, e.ToolRequested, STAY, run_tool, why="the agent says that it is looking")
    yield from stay(SPEAKING, e.ToolAnswered, e.LastToolAnswered)
    yield from stay(SPEAKING, e.AgentEnded, why="its last words are still to be heard")


def _interrupted() -> Iterator[Rule]:
    yield rule(INTERRUPTED, e.DebouncePassed, LISTENING, let_speak)
    yield rule(INTERRUPTED, e.DebouncePassedToolPending, TOOL_PENDING, let_speak)
    yield rule(INTERRUPTED, e.AgentAnswered, LISTENING, let_speak)
    yield rule(INTERRUPTED, e.LastWordsHeard, ENDED, leave)
    yield from stay(INTERRUPTED, e.CallerVoice, e.CallerPartial, why="the caller goes on: the debounce starts anew")
    yield from stay(INTERRUPTED, e.AgentInterrupted, why="Vapi agrees")
    yield rule(INTERRUPTED, e.UtteranceStarted, STAY, hush, why="it left before the order to be silent came")
    yield from stay(INTERRUPTED, e.PlaybackDone, e.PlaybackDoneToolPending, why="late: what it ends was cleared")
    yield rule(INTERRUPTED, e.ToolRequested, STAY, run_tool)
    yield from stay(INTERRUPTED, e.ToolAnswered, e.LastToolAnswered)
    yield from stay(INTERRUPTED, e.AgentEnded, why="ends with the debounce")


def _tool_pending() -> Iterator[Rule]:
    yield rule(TOOL_PENDING, e.LastToolAnswered, LISTENING, nothing)
    yield from stay(TOOL_PENDING, e.ToolAnswered, why="another tool still works")
    yield rule(TOOL_PENDING, e.ToolRequested, STAY, run_tool)
    yield rule(TOOL_PENDING, e.ToolOverdue, LISTENING, nothing)
    yield rule(TOOL_PENDING, e.UtteranceStarted, SPEAKING, nothing)
    yield from stay(TOOL_PENDING, e.PlaybackDone, e.PlaybackDoneToolPending, why="late: the phase had ended already")
    yield rule(TOOL_PENDING, e.LastWordsHeard, ENDED, leave)
    yield rule(TOOL_PENDING, e.AgentEnded, ENDED, leave)
    yield from stay(TOOL_PENDING, *BARGE_INS, why="the tool works on; the caller may speak")


def _anywhere() -> Iterator[Rule]:
    for phase in TALKING:
        yield rule(phase, e.DigitPressed, STAY, tell_digit)
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
        yield from stay(phase, e.CallerQuiet, e.CallerSaid, e.CallerMurmured, e.AgentTranscript, e.ReportArrived)
        word = "told by word; heard by UtteranceStarted and PlaybackDone"
        yield from stay(phase, e.AgentSpeechStarted, e.AgentSpeechStopped, why=word)


def _transferring() -> Iterator[Rule]:
    yield rule(TRANSFERRING, e.HandedOver, ENDED, leave)
    yield rule(TRANSFERRING, e.CallerHungUp, ENDED, leave)
    yield rule(TRANSFERRING, e.HandOverOverdue, ENDED, rescue)
    yield rule(TRANSFERRING, e.StreamStarted, STAY, hand_over, why="the stream opened too late: send it on")
    yield from stay(TRANSFERRING, e.StreamEnded, e.StreamLost, why="Twilio now comes for its TwiML")
    yield from stay(TRANSFERRING, e.HangUpOrdered, e.TransferOrdered, e.ActorGaveUp, why="the call is leaving already")
    yield from stay(TRANSFERRING, e.AgentLost, e.AgentEnded, e.AgentConnected, why="the agent is not needed any more")
    heard = (e.UtteranceStarted, e.PlaybackDone, e.PlaybackDoneToolPending, e.LastWordsHeard, e.LateMark)
    yield from stay(TRANSFERRING, *heard, *BARGE_INS, why="no longer ours to hear")
    useless = (e.ToolRequested, e.ToolAnswered, e.LastToolAnswered, e.DigitPressed)
    yield from stay(TRANSFERRING, *useless, why="nobody is there to use it")


BARGE_INS = (e.CallerVoice, e.CallerPartial, e.AgentInterrupted)

ONLY_BEFORE_NAMING = frozenset({e.CallerTranscript, e.DeadlinePassed})
"""Facts that `name_event` always renames."""

NAMED_ONLY_IN: dict[type[e.Event], tuple[Phase, ...]] = {
    e.BothLegsUp: (CONNECTING,),
    e.StreamOverdue: (CONNECTING,),
    e.HoldingDue: (CONNECTING,),
    e.AgentOverdue: (CONNECTING,),
    e.IdlePassed: (LISTENING,),
    e.SpeechOverdue: (SPEAKING,),
    e.AgentAnswered: (INTERRUPTED,),
    e.DebouncePassed: (INTERRUPTED,),
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
