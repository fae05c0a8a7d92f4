"""What a call is: its state, and what each event notes in it whatever the phase. Pure.

What comes next is decided in `engine.step`, by the rules in `engine.rules`. The state is plain data with a version, so
that it can be journaled, replayed and moved to another process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from engine import digits
from engine import events as e
from engine.agent import Agent, Digits, Silence, Turns
from engine.digits import Keys
from engine.phases import Phase

CALL_VERSION = 2
MOST_WORDS = 500  # characters of what somebody says, kept in the state
MOST_KEPT_KEYS = 64  # pressed over a speech that may not be interrupted: what comes after them is not kept


class Policy(msgspec.Struct, frozen=True):
    """What the agent file says about this call.

    Args:
        lines: the kinds of our own lines that there is a voice for.
        local_minutes: since midnight in the zone of `turns.keywords`, when the call began.
        agent_first: the assistant opens the conversation.
        greeting_protected: … and may not be interrupted in it.
    """

    turns: Turns = Turns()
    silence: Silence = Silence()
    digits: Digits = Digits()
    lines: tuple[str, ...] = ("holding", "filler", "progress", "unheard", "idle", "goodbye")
    local_minutes: int | None = None
    agent_first: bool = True
    greeting_protected: bool = False
    idle_s: float = 60.0
    max_duration_s: float = 600.0
    holding_after_s: float = 1.5  # the caller is there, the agent is not: say so within 2 s
    agent_patience_s: float = 6.0  # then fall back
    fallback_words: str = ""
    fallback_number: str | None = None
    goodbye_words: str = "We have to end the call here. Goodbye."

    @classmethod
    def of(cls, agent: Agent, *, lines: tuple[str, ...] = (), local_minutes: int | None = None) -> Policy:
        assistant = agent.assistant or {}
        return cls(
            turns=agent.turns,
            silence=agent.silence,
            digits=agent.digits,
            lines=lines,
            local_minutes=local_minutes,
            agent_first=assistant.get("firstMessageMode", "") != "assistant-waits-for-user",
            greeting_protected=assistant.get("firstMessageInterruptionsEnabled") is False,
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
    utterance: int = 0  # the epoch that may be heard; marks and ends of older ones change nothing
    ours: bool = False  # it is one of our own lines
    agent_talking: bool = False  # by Vapi's word (speech-update), not by sound
    talking_at: float = 0.0  # … since when
    agent_words: str = ""  # what the agent says, or said last
    words_over: bool = False  # … and that is complete: what comes is of its next speech
    alive_at: float = 0.0  # last sign of life of the agent
    greeted: bool = False  # an utterance of the agent has been heard
    held_at: float | None = None  # since when the agent waits for the caller to be quiet
    resumed_at: float = 0.0  # when the agent last went on after a hold
    dropped: bool = False  # this interruption: what was not heard is gone
    overruled: bool = False  # … and Vapi was told to stop
    fresh: bool = False  # … and what Vapi says now is not what the caller cut into
    cut_short: bool = False  # Vapi stopped for a noise, and owes the rest
    spoke: bool = False  # this interruption: there were words
    caller_voiced: bool = False  # by our ear
    onset_at: float = 0.0  # when the caller's last voice began
    voice_at: float = 0.0  # last sign of the caller's voice
    voiced_ms: float = 0.0  # how long their last voice was
    words_at: float = 0.0  # last sign of the caller's words
    talking_since: float = 0.0  # the caller's voice, pauses shorter than the debounce not counted
    stepped_in: bool = False  # the agent was told that the caller talks long
    turn: str = ""  # the words of the caller's turn so far
    partial: str = ""  # … and those that are not final
    dismissed: str = ""  # why the present voice is known to mean nothing
    active_at: float = 0.0  # last sign of anybody but our own lines
    sound_at: float = 0.0  # when the caller last heard something end, or themselves
    owed_since: float | None = None  # the agent owes the caller something to hear
    owed_for: str = ""  # start, words, voice, tool or stall
    lines_said: int = 0  # since then
    said: dict[str, int] = {}  # how often each kind of line, in this call
    unheard: int = 0  # how often in a row the caller was asked to say it again
    idle_said: int = 0  # prompts, since the caller's turn began
    closing: bool = False  # our goodbye is being said: the call ends with it
    cut_at: float = 0.0  # when the caller last cut the agent off, or spoke again before it had begun
    prompted_at: float = 0.0  # when the agent last got something to answer: final words, keys, a message of ours
    said_at: float = 0.0  # … from the caller
    keys: Keys = Keys()
    confirmed_at: float | None = None  # Vapi heard this interruption too
    tools: tuple[str, ...] = ()  # ids of the tool calls under way
    background: tuple[str, ...] = ()  # … of those that Vapi does not wait for any more
    end_ordered: bool = False  # a tool ends the call, once what is being said was heard
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
    return {"line_up_at": event.at, "active_at": event.at, "sound_at": event.at}


def _agent_up(call: Call, event: e.Event) -> dict[str, Any]:
    return {"agent_up_at": event.at, "active_at": event.at, "alive_at": event.at}


def _both_up(call: Call, event: e.BothLegsUp) -> dict[str, Any]:
    noted = _line_up(call, event) if event.fact == "StreamStarted" else _agent_up(call, event)
    noted["sound_at"] = max(call.sound_at, event.at)
    return noted | (_owing(event.at, "start") if call.policy.agent_first else {})


# --- the caller -----------------------------------------------------------------------------------------------------


def _voice(call: Call, event: e.CallerVoice | e.VoiceNoted) -> dict[str, Any]:
    """A voice begins: whatever was owed, it is the caller's turn again."""
    paused_s = event.at - max(call.voice_at, call.talking_since)
    began_anew = paused_s > call.policy.turns.debounce_ms / 1000
    noted: dict[str, Any] = {
        "caller_voiced": True,
        "onset_at": event.onset_at,
        "talking_since": event.onset_at if began_anew else call.talking_since,
        "dismissed": "",
        **_barged_in(call, event),
    }
    if began_anew:
        noted["stepped_in"] = False
    if isinstance(event, e.CallerVoice) and call.held_at is None and call.phase in _HOLDING:
        noted["held_at"] = event.at
    return noted


_HOLDING = (Phase.LISTENING, Phase.SPEAKING, Phase.TOOL_PENDING)
_HEARD = (Phase.SPEAKING, Phase.INTERRUPTED)


def _barged_in(call: Call, event: e.Event) -> dict[str, Any]:
    noted: dict[str, Any] = {"voice_at": event.at, "active_at": event.at}
    if call.phase is Phase.SPEAKING:
        noted["confirmed_at"] = None  # a new interruption: Vapi's word on the last one no longer counts
    return noted


def _quiet(call: Call, event: e.CallerQuiet) -> dict[str, Any]:
    quiet_at = event.at - HANGOVER_S
    noted: dict[str, Any] = {
        "caller_voiced": False,
        "voiced_ms": event.voiced_ms,
        "voice_at": event.at,
        "active_at": event.at,
        "sound_at": quiet_at,
    }
    worth_an_answer = event.voiced_ms >= ANSWERED_MS and not call.dismissed and call.phase is not Phase.SPEAKING
    unknown = call.words_at < call.onset_at or bool(call.partial)  # no words, or none that became final
    if call.owed_for == "voice" or (call.owed_since is None and worth_an_answer and unknown):
        noted |= _owing(quiet_at, "voice")
    return noted


HANGOVER_S = 0.16  # the voice was over so long before the detector said so (`engine.voice`)
FINAL_FOLLOWS_S = 0.8  # after a partial transcript: until then nobody owes an answer
ANSWERED_MS = 400.0  # so much voice without any words is worth a question


def _stays(call: Call) -> dict[str, Any]:
    """The goodbye, if one is being said, is not the end after all."""
    if call.phase in (Phase.TRANSFERRING, Phase.ENDED):
        return {}  # too late: the call is leaving, for the reason that is noted
    if call.end_ordered:
        return {"end_ordered": False, "farewell_at": None, "reason": ""}
    return {"closing": False, "reason": ""} if call.closing else {}


def _cut(call: Call, event: e.Event) -> dict[str, Any]:
    """The caller's words end what the agent does, or was about to do. Words of the old turn, come late, do not."""
    held = call.caller_voiced and (call.held_at is not None or call.phase is Phase.INTERRUPTED)
    return {"cut_at": event.at} if call.phase is Phase.SPEAKING or held else {}


def _prompted(event: e.Event) -> dict[str, Any]:
    return {"prompted_at": event.at, "said_at": event.at}


def _spoke(call: Call, event: e.CallerSpoke) -> dict[str, Any]:
    """Words that count. They are said again when they become final; the latest ones win."""
    noted = {**_barged_in(call, event), "words_at": event.at, "alive_at": event.at, "spoke": True, **_stays(call)}
    noted["unheard"] = 0
    noted |= _cut(call, event)
    if call.phase is Phase.SPEAKING:
        noted |= {"dropped": True, "overruled": False, "fresh": False}
    if event.final:
        return noted | _turn(call, event.text, event.at) | _prompted(event)
    if call.owed_for == "voice":
        noted |= _owing(event.at + FINAL_FOLLOWS_S, "words")  # so they were understood after all
    return noted | {"partial": event.text[:MOST_WORDS]}


def _said(call: Call, event: e.CallerSaid) -> dict[str, Any]:
    noted = {"active_at": event.at, "words_at": event.at, "alive_at": event.at, "spoke": True}
    if call.phase is not Phase.SPEAKING:
        noted |= _cut(call, event)
    return noted | _turn(call, event.text, event.at) | _prompted(event)


def _turn(call: Call, words: str, at: float) -> dict[str, Any]:
    turn = f"{call.turn} {words}".strip()[-MOST_WORDS:]
    return {"turn": turn, "partial": "", "idle_said": 0, "unheard": 0, "cut_short": False, **_owing(at, "words")}


def _murmured(call: Call, event: e.CallerMurmured) -> dict[str, Any]:
    noted: dict[str, Any] = {"alive_at": event.at}
    if event.why in ("backchannel", "echo"):
        noted["dismissed"] = event.why
    return noted


def _false_alarm(call: Call, event: e.FalseAlarm) -> dict[str, Any]:
    noted: dict[str, Any] = {"held_at": None, "dismissed": event.reason}
    if event.reason == "background":  # the caller may well be speaking, but there was nothing to be interrupted
        return {"held_at": None}
    quiet_at = event.at if call.caller_voiced else call.voice_at - HANGOVER_S
    noted |= {"caller_voiced": False, "resumed_at": event.at, "sound_at": max(call.sound_at, quiet_at)}
    if call.owed_for == "voice":
        noted |= _OWES_NOTHING
    return noted


def _turn_over(call: Call, event: e.CallerTurnOver) -> dict[str, Any]:
    noted: dict[str, Any] = {"turn": "", "partial": ""} | ({} if call.turn else _prompted(event))
    if not call.turn and call.phase is not Phase.SPEAKING and call.owed_for in ("", "voice"):
        noted |= _owing(event.at, "words")  # a turn made of partials: nothing final has been owed an answer yet
    return noted


def _debounced(call: Call, event: e.Event) -> dict[str, Any]:
    noted: dict[str, Any] = {"held_at": None, "dropped": False}
    if call.phase is Phase.INTERRUPTED:
        noted["ours"] = False  # a line of ours that was cut has no end that could be noted
        noted |= {"spoke": False, "cut_short": not call.spoke and call.confirmed_at is not None}
        noted |= _owing(event.at, "words") if call.spoke else _owing(call.voice_at - HANGOVER_S, "voice")
    return noted


def _overruled(call: Call, event: e.AgentTalksOn) -> dict[str, Any]:
    return {"overruled": True}


def _key(call: Call, event: e.DigitPressed) -> dict[str, Any]:
    keys, _ = digits.press(call.keys, event.digit, event.at, call.policy.digits)
    return {"keys": keys, **_key_pressed(call, event)}


def _key_kept(call: Call, event: e.KeyKept) -> dict[str, Any]:
    """Told when the speech is over: all that was typed over it is one number."""
    keys, typed = digits.press(call.keys, event.digit, event.at, call.policy.digits)
    if typed is not None:
        both = (typed + keys.typed)[: max(MOST_KEPT_KEYS, call.policy.digits.most)]
        keys = Keys(typed=both, last_at=event.at, ignored=keys.ignored)
    return {"keys": keys, "active_at": event.at, "idle_said": 0}


def _key_pressed(call: Call, event: e.Event) -> dict[str, Any]:
    noted: dict[str, Any] = {"active_at": event.at, "idle_said": 0, "spoke": True, **_stays(call)}
    if call.phase is Phase.SPEAKING:
        noted |= {
            "dropped": True,
            "overruled": True,
            "fresh": False,
            "confirmed_at": None,
            "cut_at": event.at,
        }  # it hears of the keys when all are typed
    return noted


def _typed(call: Call, event: e.KeysTyped) -> dict[str, Any]:
    keys = Keys(ignored=call.keys.ignored)
    return {
        "keys": keys,
        "words_at": event.at,
        **_key_pressed(call, event),
        **_owing(event.at, "words"),
        **_prompted(event),
    }


# --- the agent ------------------------------------------------------------------------------------------------------


def _owing(at: float, why: str) -> dict[str, Any]:
    return {"owed_since": at, "owed_for": why, "lines_said": 0}


_OWES_NOTHING: dict[str, Any] = {"owed_since": None, "owed_for": "", "lines_said": 0}


def _vapi_interrupted(call: Call, event: e.AgentInterrupted) -> dict[str, Any]:
    noted: dict[str, Any] = {
        "agent_talking": False,
        "words_over": True,
        "confirmed_at": event.at,
        "active_at": event.at,
        "alive_at": event.at,
        "cut_at": call.said_at if call.said_at >= call.onset_at > 0 else event.at,  # by words that are known already?
        **_stays(call),
    }
    if call.phase in _HEARD:
        noted["dropped"] = True
        noted["spoke"] = call.spoke if call.phase is Phase.INTERRUPTED else call.words_at >= call.onset_at > 0
    elif call.phase in _HOLDING:
        noted |= _lost_line(call, event)
        if call.held_at is None:
            noted["held_at"] = event.at
    return noted


def _lost_line(call: Call, event: e.Event) -> dict[str, Any]:
    """What is being heard is dropped. If it is a line of ours, its end will not be told: nobody may wait for it."""
    return {"ours": False, "sound_at": event.at} if call.ours else {}


def _fell_silent(call: Call, event: e.AgentFellSilent) -> dict[str, Any]:
    return {"agent_talking": False, "words_over": True, "alive_at": event.at}


def _speech(call: Call, event: e.AgentSpeechStarted) -> dict[str, Any]:
    noted: dict[str, Any] = {"agent_talking": True, "talking_at": event.at}
    if call.phase is Phase.INTERRUPTED:
        noted["fresh"] = True
    return noted | {"active_at": event.at, "alive_at": event.at}


def _speech_over(call: Call, event: e.AgentSpeechStopped) -> dict[str, Any]:
    noted: dict[str, Any] = {
        "agent_talking": False,
        "words_over": True,
        "active_at": event.at,
        "alive_at": event.at,
    }
    if call.phase is Phase.INTERRUPTED:
        noted["dropped"] = True
    if call.owed_for == "stall":  # a line of ours has said by now that more comes: what did not come is still owed
        noted |= {} if call.lines_said else _OWES_NOTHING
    return noted


def _agent_words(call: Call, event: e.AgentWords) -> dict[str, Any]:
    """The pieces of one speech are told one by one."""
    words = event.text if call.words_over else f"{call.agent_words} {event.text}".strip()
    return {"agent_words": words[-MOST_WORDS:], "words_over": False, "alive_at": event.at}


def _agent_transcript(call: Call, event: e.AgentTranscript) -> dict[str, Any]:
    noted: dict[str, Any] = {"active_at": event.at, "alive_at": event.at}
    if (
        event.final or event.text in call.agent_words
    ):  # the final one may come after the speech (reference/vapi.md §4.4)
        return noted
    return noted | {"agent_words": event.text[-MOST_WORDS:], "words_over": False}


def _heard(call: Call, event: e.UtteranceStarted) -> dict[str, Any]:
    noted: dict[str, Any] = {"utterance": event.utterance, "ours": event.ours}
    if event.ours:
        return noted
    noted |= {"active_at": event.at, "alive_at": event.at, "idle_said": 0, "unheard": 0, "cut_short": False}
    return noted | _OWES_NOTHING


NOTHING_LEFT_S = 0.02  # an utterance that ends so soon after a hold had been heard out before it


def _heard_out(call: Call, event: e.PlaybackDone | e.PlaybackDoneToolPending) -> dict[str, Any]:
    nothing_left = event.at < call.resumed_at + NOTHING_LEFT_S
    noted: dict[str, Any] = {} if nothing_left else {"sound_at": event.at}
    if call.ours:
        return noted | {"ours": False}
    noted |= {"active_at": event.at, "greeted": True}
    if isinstance(event, e.PlaybackDoneToolPending):  # it said that it looks: that was the filler
        return noted | {"owed_since": event.at, "owed_for": "tool", "lines_said": 1}
    if call.agent_talking and call.phase is Phase.SPEAKING and call.owed_since is None:
        noted |= _owing(event.at, "stall")
    return noted


def _line(kind: str) -> _Note:
    """One of our own lines is being said: the n-th since something was owed, and of its kind."""

    def note(call: Call, event: e.Event) -> dict[str, Any]:
        said = {**call.said, kind: call.said.get(kind, 0) + 1}
        return {"said": said, "lines_said": call.lines_said + 1, "sound_at": event.at}

    return note


def _progress(call: Call, event: e.ProgressDue) -> dict[str, Any]:
    return _line("progress")(call, event) | {"prompted_at": event.at}  # the agent may be told that the caller waits


def _unheard(call: Call, event: e.UnheardDue) -> dict[str, Any]:
    if call.cut_short:  # nothing is said: the agent is told to go on
        return {"cut_short": False, "lines_said": call.lines_said + 1, "prompted_at": event.at}
    return _line("unheard")(call, event) | {"unheard": call.unheard + 1, "owed_since": None, "owed_for": ""}


def _idle_prompt(call: Call, event: e.IdlePromptDue) -> dict[str, Any]:
    return _line("idle")(call, event) | {"idle_said": call.idle_said + 1}


def _our_goodbye(call: Call, event: e.GoodbyeDue) -> dict[str, Any]:
    return _line("goodbye")(call, event) | {"closing": True, "reason": "nobody spoke"}


def _step_in(call: Call, event: e.CallerTalksLong) -> dict[str, Any]:
    return {"stepped_in": True, "held_at": None, "prompted_at": event.at}


def _tool_asked(call: Call, event: e.ToolRequested) -> dict[str, Any]:
    noted = {"tools": (*call.tools, event.tool_call_id), "active_at": event.at, "alive_at": event.at}
    if call.owed_since is not None and call.owed_for == "words":  # the caller has been waiting since they spoke
        return noted | {"owed_for": "tool"}
    return noted | _owing(event.at, "tool")


def _tool_done(call: Call, event: e.ToolAnswered | e.LastToolAnswered) -> dict[str, Any]:
    left = tuple(tool for tool in call.tools if tool != event.tool_call_id)
    noted: dict[str, Any] = {"tools": left, "active_at": event.at}
    if event.goes_on:
        noted["background"] = (*call.background, event.tool_call_id)
    if left:
        return noted
    since = call.owed_since if call.owed_since is not None else event.at
    noted["alive_at"] = event.at  # the agent's own time begins now, however long the tool took
    return noted | {"owed_since": since, "owed_for": "words"}


def _tool_late(call: Call, event: e.ToolLate) -> dict[str, Any]:
    """What took longer is there. The agent is told by its voice or its conversation, and owes an answer only then."""
    left = tuple(tool for tool in call.background if tool != event.tool_call_id)
    noted: dict[str, Any] = {"background": left, "active_at": event.at}
    if event.how == "tell":
        noted |= {"prompted_at": event.at, "alive_at": event.at, **_owing(event.at, "words")}
    return noted


def _end_ordered(call: Call, event: e.EndOrdered) -> dict[str, Any]:
    """Called off while the caller cuts in; while the agent speaks it ends with the last word."""
    if call.phase is Phase.INTERRUPTED:
        return {}
    if call.phase is Phase.SPEAKING:
        return {"end_ordered": True, "farewell_at": event.at, "reason": event.reason}
    return {"reason": event.reason}


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


def _hang_up(call: Call, event: e.HangUpOrdered) -> dict[str, Any]:
    words = call.policy.goodbye_words if event.words is None else event.words
    return {"reason": event.reason, "next_words": words, "next_number": None}


def _transfer(call: Call, event: e.TransferOrdered) -> dict[str, Any]:
    return {"reason": "transferred", "next_words": event.words, "next_number": event.number}


def _farewell(call: Call, event: e.AgentEnded) -> dict[str, Any]:
    noted: dict[str, Any] = {"farewell_at": event.at, "reason": event.reason}
    if call.phase is Phase.CONNECTING:  # it left before anybody could hear it
        noted |= {"next_words": call.policy.fallback_words, "next_number": call.policy.fallback_number}
    return noted


_NOTES: dict[type[e.Event], _Note] = {
    e.StreamStarted: _line_up,
    e.AgentConnected: _agent_up,
    e.BothLegsUp: _both_up,
    e.HoldingDue: _line("holding"),
    e.FillerDue: _line("filler"),
    e.ProgressDue: _progress,
    e.UnheardDue: _unheard,
    e.IdlePromptDue: _idle_prompt,
    e.GoodbyeDue: _our_goodbye,
    e.AgentSpeechStarted: _speech,
    e.AgentSpeechStopped: _speech_over,
    e.AgentInterrupted: _vapi_interrupted,
    e.SpeechOverdue: _lost_line,
    e.AgentFellSilent: _fell_silent,
    e.AgentTalksOn: _overruled,
    e.AgentWords: _agent_words,
    e.UtteranceStarted: _heard,
    e.PlaybackDone: _heard_out,
    e.PlaybackDoneToolPending: _heard_out,
    e.AgentTranscript: _agent_transcript,
    e.CallerVoice: _voice,
    e.VoiceNoted: _voice,
    e.CallerQuiet: _quiet,
    e.FalseAlarm: _false_alarm,
    e.CallerSpoke: _spoke,
    e.CallerSaid: _said,
    e.CallerMurmured: _murmured,
    e.CallerTurnOver: _turn_over,
    e.CallerTalksLong: _step_in,
    e.DebouncePassed: _debounced,
    e.DebouncePassedToolPending: _debounced,
    e.DigitPressed: _key,
    e.KeyKept: _key_kept,
    e.KeysTyped: _typed,
    e.ToolRequested: _tool_asked,
    e.ToolAnswered: _tool_done,
    e.LastToolAnswered: _tool_done,
    e.ToolOverdue: lambda call, event: {"alive_at": event.at},  # now the agent has its own time, as after an answer
    e.ToolLate: _tool_late,
    e.EndOrdered: _leaving(_end_ordered),
    e.AgentEnded: _leaving(_farewell),
    e.StreamEnded: lambda call, event: {"reason": call.reason or event.reason},
    e.CallerHungUp: lambda call, event: {"reason": call.reason or f"caller {event.status}"},
    e.HandedOver: lambda call, event: {"reason": call.reason or event.how},
    e.StreamLost: _fallback(lambda event: f"line lost: {event.reason}"),
    e.AgentLost: _fallback(lambda event: f"agent lost: {event.why}"),
    e.AgentOverdue: _fallback(lambda event: "agent overdue"),
    e.AgentStalled: _fallback(lambda event: "agent stalled"),
    e.ActorGaveUp: _fallback(lambda event: f"crashed: {event.why}"),
    e.StreamOverdue: _fallback(lambda event: "stream never opened"),
    e.IdlePassed: _goodbye(lambda event: "nobody spoke"),
    e.DurationPassed: _goodbye(lambda event: "longest duration reached"),
    e.HangUpOrdered: _leaving(_hang_up),
    e.TransferOrdered: _leaving(_transfer),
}
