"""What can happen in a call: facts in the past tense, frozen, each with the moment it happened.

`at` is in seconds on the call's own clock. A fact is posted by a leg, a timer or a webhook; `engine.turns.name_event`
may give it a sharper name before the rules see it (a deadline becomes `DebouncePassed`, the last tool's answer
`LastToolAnswered`). Names that only `name_event` gives are in the second half.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened. Never subclassed twice: the rules look at the exact type."""

    at: float


# --- Twilio's leg ---------------------------------------------------------------------------------------------------


class StreamStarted(Event, frozen=True):
    """Twilio's media stream is up and its token was good (reference/twilio.md §9 `start`)."""

    stream_sid: str


class StreamEnded(Event, frozen=True):
    """Twilio's media stream is gone. `stopped`: Twilio said `stop`; otherwise the socket broke or fell silent."""

    reason: str
    stopped: bool


class CallerHungUp(Event, frozen=True):
    """A status callback with a final status (reference/twilio.md §13)."""

    status: str


class DigitPressed(Event, frozen=True):
    """A key of the caller's phone. Personal data: never logged."""

    digit: str


class HandedOver(Event, frozen=True):
    """Twilio asked for the next TwiML (`<Connect action>`) and has it: the call goes on without us."""

    how: str


# --- Vapi's leg -----------------------------------------------------------------------------------------------------


class AgentConnected(Event, frozen=True):
    """Vapi's socket is open and takes audio."""

    agent_call_id: str


class AgentLost(Event, frozen=True):
    """Vapi refused the call, never opened its socket, or dropped it. `why` is for operators, not for the caller."""

    why: str


class AgentEnded(Event, frozen=True):
    """Vapi says that the conversation is over (reference/vapi.md §14.3)."""

    reason: str


class AgentSpeechStarted(Event, frozen=True):
    """`speech-update` started, role assistant."""


class AgentSpeechStopped(Event, frozen=True):
    """`speech-update` stopped, role assistant: generated to the end, not yet heard to the end."""


class AgentInterrupted(Event, frozen=True):
    """`user-interrupted`: Vapi heard the caller cut in and stopped by itself (reference/vapi.md §4.6)."""


class AgentTranscript(Event, frozen=True):
    text: str
    final: bool


class CallerTranscript(Event, frozen=True):
    """What Vapi's transcriber makes of the caller.

    Args:
        confidence: from 0 to 1, where Vapi tells (finals only).
        age_s: how long ago Vapi says it was, where it tells.
    """

    text: str
    final: bool
    confidence: float | None = None
    age_s: float | None = None


class AgentWords(Event, frozen=True):
    """What the agent is about to say, told before its sound (`voice-input`)."""

    text: str


class ToolRequested(Event, frozen=True):
    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    effect: str = "read"  # `engine.tools.ToolEffect`


class ToolAnswered(Event, frozen=True):
    """Vapi has its answer: a result, an error, a time-out or a cancellation. `goes_on`: that it takes longer."""

    tool_call_id: str
    ok: bool
    took_ms: float
    goes_on: bool = False


class ToolLate(Event, frozen=True):
    """A tool of which Vapi was told that it takes longer is over. `how`: say, tell, or keep (`ToolPolicy.late`)."""

    tool_call_id: str
    ok: bool
    took_ms: float
    how: str = "keep"


class ReportArrived(Event, frozen=True):
    """The `end-of-call-report`, the first one; copies are dropped before they get here."""

    ended_reason: str


# --- media plane ----------------------------------------------------------------------------------------------------


class UtteranceStarted(Event, frozen=True):
    """The first audio of an utterance left for the caller's ear. `ours`: one of our own lines, not the agent."""

    utterance: int
    ours: bool = False


class PlaybackDone(Event, frozen=True):
    """The last mark of an utterance came back: the caller has heard it to the end."""

    utterance: int
    heard_ms: float


class CallerVoice(Event, frozen=True):
    """Local speech detection: the caller's voice began at `onset_at`."""

    onset_at: float


class CallerQuiet(Event, frozen=True):
    """Local speech detection: the caller's voice stopped, after so much voiced sound."""

    voiced_ms: float = 1000.0


# --- ourselves ------------------------------------------------------------------------------------------------------


class HangUpOrdered(Event, frozen=True):
    """An operator, a limit, a shutdown or a machine that answered ends the call, with words.

    Args:
        words: instead of the policy's goodbye; empty: none.
    """

    reason: str
    words: str | None = None


class EndOrdered(Event, frozen=True):
    """The agent ends the call by a tool of its own: it has said its goodbye."""

    reason: str


class TransferOrdered(Event, frozen=True):
    """The call shall go on with a person. `number`: E.164 or a SIP address."""

    number: str
    words: str = ""


class ActorGaveUp(Event, frozen=True):
    """The call's actor crashed more often than its restart budget allows."""

    why: str


class DeadlinePassed(Event, frozen=True):
    """The deadline of `engine.call.deadline_of` is over."""


# --- sharper names, given by `engine.turns.name_event` ---------------------------------------------------------------


class CallerSpoke(Event, frozen=True):
    """The caller's words, and the policy takes them for speech: they interrupt (`engine.interrupting`).

    Args:
        reason: which words did it: `words`, `final`, or a `phrase` that always interrupts.
    """

    text: str
    reason: str = "words"
    final: bool = False


class CallerSaid(Event, frozen=True):
    """A final transcript of the caller: acted on, but nothing that it could interrupt."""

    text: str


class CallerMurmured(Event, frozen=True):
    """Words of the caller that mean nothing now; `why`: too short, unsure, stale, a backchannel, an echo …"""

    text: str
    why: str = "too short"


class VoiceNoted(Event, frozen=True):
    """The caller's voice, where policy says that a voice alone changes nothing."""

    onset_at: float


class FalseAlarm(Event, frozen=True):
    """The voice for which the agent was held was not speech, or not meant: the agent goes on.

    Args:
        reason: `noise` (short, and quiet again), `no words`, `backchannel`, `echo`; `background` for a voice that
            held an agent who had not begun.
    """

    reason: str


class AgentFellSilent(Event, frozen=True):
    """Vapi interrupted itself in a speech that may not be interrupted: what came of it is heard to the end."""


class AgentTalksOn(Event, frozen=True):
    """The caller cut in with words, and Vapi talks on as if it had not heard them."""


class CallerTurnOver(Event, frozen=True):
    """The caller has been quiet for the debounce: these are the words of their turn, the latest ones."""

    text: str


class CallerTalksLong(Event, frozen=True):
    """The caller has talked without a pause for longer than the policy likes."""


class KeyKept(Event, frozen=True):
    """A key, pressed over a speech that may not be interrupted. Personal data: never logged."""

    digit: str


class KeysTyped(Event, frozen=True):
    """A number typed on the caller's phone is complete. Personal data: never logged."""

    digits: str


class StreamLost(Event, frozen=True):
    """Twilio's socket broke or fell silent without a `stop`: the call itself may still be up."""

    reason: str


class LateMark(Event, frozen=True):
    """Playback of an utterance that is not the present one any more ended: it was cleared meanwhile."""

    utterance: int


class PlaybackDoneToolPending(Event, frozen=True):
    utterance: int
    heard_ms: float


class LastWordsHeard(Event, frozen=True):
    """Nothing is left to be heard, and the agent has said that the conversation is over."""


class LastToolAnswered(Event, frozen=True):
    tool_call_id: str
    ok: bool
    took_ms: float
    goes_on: bool = False


class BothLegsUp(Event, frozen=True):
    """The second of the two legs came up; `fact` says which."""

    fact: str


class StreamOverdue(Event, frozen=True):
    """TwiML was answered, but Twilio's stream never opened."""


class HoldingDue(Event, frozen=True):
    """The caller is there, the agent is not yet: time for a holding sentence."""


class FillerDue(Event, frozen=True):
    """The agent owes an answer, and the caller hears nothing."""


class ProgressDue(Event, frozen=True):
    """Still nothing since our last line."""


class UnheardDue(Event, frozen=True):
    """The caller spoke, and nobody knows what they said."""


class AgentStalled(Event, frozen=True):
    """The agent owes an answer and has given no sign of life for too long."""


class IdlePromptDue(Event, frozen=True):
    """It is the caller's turn, and they are silent: ask whether they are there."""


class GoodbyeDue(Event, frozen=True):
    """The caller has been silent for so long that we say goodbye."""


class AgentOverdue(Event, frozen=True):
    """The agent is not there in time."""


class IdlePassed(Event, frozen=True):
    """Nobody has said anything for too long."""


class SpeechOverdue(Event, frozen=True):
    """An utterance does not end."""


class DebouncePassed(Event, frozen=True):
    """The caller has been quiet for the debounce: the agent may be heard."""


class DebouncePassedToolPending(Event, frozen=True):
    pass


class ToolOverdue(Event, frozen=True):
    """No tool answered within the longest time that Vapi waits."""


class HandOverOverdue(Event, frozen=True):
    """Twilio never asked for the next TwiML."""


class DurationPassed(Event, frozen=True):
    """The longest length of a call is reached."""
