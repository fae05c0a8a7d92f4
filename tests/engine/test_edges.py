"""The edges that whole conversations seldom take: every way out of every phase, what comes late, what comes twice.

`./dev test tests/engine tests/stories --edges FILE; callscope diagram --coverage FILE` says which edges nothing takes.
"""

from __future__ import annotations

import pytest

from engine import effects as f
from engine import events as e
from engine.agent import Turns
from engine.call import Call, Policy
from engine.effects import Effect
from engine.events import Event
from engine.phases import Phase
from engine.step import opened, step
from engine.turns import HAND_OVER_S, LAST_WORDS_S, LONGEST_SPEECH_S, TOOL_PATIENCE_S, deadline_of
from tests.engine.test_stories import GREETING, POLICY, TALKING, UP

ASKED = e.ToolRequested(at=5.2, tool_call_id="t1", name="check", arguments={"day": "friday"})
WAYS: dict[Phase, tuple[Event, ...]] = {
    Phase.CONNECTING: (e.StreamStarted(at=5.1, stream_sid="MZ1"),),
    Phase.LISTENING: (*UP, *GREETING),
    Phase.SPEAKING: (*UP, *GREETING, *TALKING),
    Phase.INTERRUPTED: (*UP, *GREETING, *TALKING, e.CallerTranscript(at=5.2, text="stop", final=False)),
    Phase.TOOL_PENDING: (*UP, *GREETING, ASKED),
}
"""How a call gets into each phase, at 5.2 s or just before, so that no line of ours is due yet."""
TALKING_IN = (Phase.LISTENING, Phase.SPEAKING, Phase.INTERRUPTED, Phase.TOOL_PENDING)
EVERYWHERE = (Phase.CONNECTING, *TALKING_IN)
NOW = 5.3


def played(*facts: Event, policy: Policy = POLICY) -> tuple[Call, list[tuple[float, Effect]]]:
    """The call after these facts and the deadlines between them, and all that was asked for."""
    call, effects = opened("call-1", policy)
    asked = [(0.0, effect) for effect in effects]
    for fact in facts:
        while (due := deadline_of(call)) < fact.at:
            call, effects = step(call, e.DeadlinePassed(at=due))
            asked += [(due, effect) for effect in effects]
        call, effects = step(call, fact)
        asked += [(fact.at, effect) for effect in effects]
    return call, asked


def then(phase: Phase, *facts: Event, policy: Policy = POLICY) -> tuple[Call, list[Effect]]:
    """The call after these facts in that phase, and what was asked for because of them."""
    before, asked = played(*WAYS[phase], policy=policy)
    assert before.phase is phase
    call, all_asked = played(*WAYS[phase], *facts, policy=policy)
    return call, [effect for _, effect in all_asked[len(asked) :]]


def left_alone(call: Call) -> tuple[Call, list[tuple[float, Effect]]]:
    """What becomes of a call in which nothing happens any more."""
    asked: list[tuple[float, Effect]] = []
    while call.phase is not Phase.ENDED:
        due = deadline_of(call)
        call, effects = step(call, e.DeadlinePassed(at=due))
        asked += [(due, effect) for effect in effects]
    return call, asked


def handed_over(reason: str, words: str, number: str | None) -> list[Effect]:
    return [
        f.CancelTools(reason=reason),
        f.EndAgent(reason=reason),
        f.HandOver(words=words, number=number, reason=reason),
    ]


def hung_up(reason: str) -> list[Effect]:
    return [f.CancelTools(reason=reason), f.EndAgent(reason=reason), f.HangUp(reason=reason)]


FALLBACK = (POLICY.fallback_words, POLICY.fallback_number)
GOODBYE = (POLICY.goodbye_words, None)


@pytest.mark.parametrize("phase", EVERYWHERE)
@pytest.mark.parametrize(
    ("fact", "reason", "words", "number"),
    [
        (e.AgentLost(at=NOW, why="closed"), "agent lost: closed", *FALLBACK),
        (e.StreamEnded(at=NOW, reason="reset", stopped=False), "line lost: reset", *FALLBACK),
        (e.ActorGaveUp(at=NOW, why="too often"), "crashed: too often", *FALLBACK),
        (e.HangUpOrdered(at=NOW, reason="shutdown"), "shutdown", *GOODBYE),
        (e.TransferOrdered(at=NOW, number="+15550123", words="Hold on."), "transferred", "Hold on.", "+15550123"),
    ],
    ids=lambda fact: type(fact).__name__ if isinstance(fact, Event) else "",
)
def test_trouble_and_orders_in_every_phase(
    phase: Phase, fact: Event, reason: str, words: str, number: str | None
) -> None:
    """Whatever is going on, the caller gets words and a way on; nobody talks over them."""
    call, asked = then(phase, fact)
    assert call.phase is Phase.TRANSFERRING and call.reason == reason and asked == handed_over(reason, words, number)
    assert deadline_of(call) == NOW + HAND_OVER_S
    ended, late = left_alone(call)
    assert ended.reason == reason
    assert late == [(NOW + HAND_OVER_S, f.RescueByRest(words=words, number=number, reason=reason))]


@pytest.mark.parametrize("phase", EVERYWHERE)
@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (e.StreamEnded(at=NOW, reason="stop", stopped=True), "stop"),
        (e.CallerHungUp(at=NOW, status="completed"), "caller completed"),
        (e.HandedOver(at=NOW, how="asked"), "asked"),
    ],
    ids=lambda fact: type(fact).__name__ if isinstance(fact, Event) else "",
)
def test_the_line_is_gone_in_every_phase(phase: Phase, fact: Event, reason: str) -> None:
    """The agent stops costing money, tools are let go, and nothing more is asked for."""
    call, asked = then(phase, fact)
    assert call.phase is Phase.ENDED and call.reason == reason and asked == hung_up(reason)
    assert deadline_of(call) == float("inf")


@pytest.mark.parametrize("phase", EVERYWHERE)
def test_the_longest_call_is_over(phase: Phase) -> None:
    """A limit of the agent file ends the call with words, whatever phase it is in."""
    policy = Policy(max_duration_s=NOW, fallback_words="Sorry.")
    call, asked = then(phase, e.ReportArrived(at=NOW + 0.01, ended_reason="x"), policy=policy)
    assert call.phase is Phase.TRANSFERRING and call.entered_at == NOW
    assert asked[-3:] == handed_over("longest duration reached", policy.goodbye_words, None)


def test_the_first_reason_counts() -> None:
    """What happens while the call is leaving neither changes why, nor what Twilio says."""
    late: tuple[Event, ...] = (
        e.AgentLost(at=5.4, why="closed"),
        e.AgentEnded(at=5.5, reason="assistant-ended-call"),
        e.StreamEnded(at=5.6, reason="reset", stopped=False),
        e.ActorGaveUp(at=5.7, why="late"),
        e.HangUpOrdered(at=5.8, reason="late"),
        e.EndOrdered(at=5.85, reason="late"),
        e.TransferOrdered(at=5.9, number="+15550199", words="late"),
        e.ReportArrived(at=6.0, ended_reason="late"),
        e.UtteranceStarted(at=6.1, utterance=3),
        e.PlaybackDone(at=6.2, utterance=3, heard_ms=90),
        e.PlaybackDone(at=6.25, utterance=2, heard_ms=90),
        e.CallerVoice(at=6.3, onset_at=6.26),
        e.CallerQuiet(at=6.4, voiced_ms=100),
        e.CallerTranscript(at=6.5, text="hello", final=False),
        e.CallerTranscript(at=6.6, text="hello", final=True),
        e.AgentInterrupted(at=6.7),
        e.AgentConnected(at=6.8, agent_call_id="a"),
        e.AgentSpeechStarted(at=6.9),
        e.AgentSpeechStopped(at=7.0),
        e.AgentTranscript(at=7.1, text="late", final=True),
        e.AgentWords(at=7.2, text="late"),
        e.ToolRequested(at=7.3, tool_call_id="t8", name="check", arguments={}),
        e.ToolAnswered(at=7.4, tool_call_id="t8", ok=True, took_ms=5),
        e.ToolLate(at=7.5, tool_call_id="t8", ok=True, took_ms=5),
        e.DigitPressed(at=7.6, digit="1"),
    )
    order = e.TransferOrdered(at=NOW, number="+15550123", words="Hold on.")
    call, asked = then(Phase.LISTENING, order, *late, e.StreamEnded(at=7.7, reason="stop", stopped=True))
    assert (call.phase, call.reason) == (Phase.TRANSFERRING, "transferred")
    assert (call.next_words, call.next_number) == ("Hold on.", "+15550123")
    assert asked == handed_over("transferred", "Hold on.", "+15550123") and deadline_of(call) == NOW + HAND_OVER_S
    call, asked = then(Phase.LISTENING, order, *late, e.HandedOver(at=7.8, how="asked"))
    assert call.phase is Phase.ENDED and call.reason == "transferred" and asked[3:] == hung_up("transferred")


def test_a_second_start_changes_nothing() -> None:
    """Vendors say things twice."""
    for phase in TALKING_IN:
        again = (e.StreamStarted(at=NOW, stream_sid="MZ2"), e.AgentConnected(at=NOW, agent_call_id="b"))
        call, asked = then(phase, *again)
        assert call.phase is phase and asked == []


def test_a_mark_of_an_utterance_that_was_cleared() -> None:
    """It ends nothing: neither the present speech, nor the wait for a tool or the caller."""
    for phase in TALKING_IN:
        call, asked = then(phase, e.PlaybackDone(at=NOW, utterance=99, heard_ms=10))
        before, _ = then(phase)
        assert (call.phase, asked) == (phase, []) and call.greeted == before.greeted
        assert call.sound_at == before.sound_at and call.active_at == before.active_at


def test_the_end_of_what_has_ended_already() -> None:
    """The last mark of a speech that was cut, or heard already, comes late and moves nothing."""
    for phase in (Phase.LISTENING, Phase.INTERRUPTED, Phase.TOOL_PENDING):
        before, _ = then(phase)
        call, asked = then(phase, e.PlaybackDone(at=NOW, utterance=before.utterance, heard_ms=10))
        assert (call.phase, asked) == (phase, [])
    tool = e.ToolRequested(at=5.25, tool_call_id="t2", name="check", arguments={})
    call, asked = then(Phase.INTERRUPTED, tool, e.PlaybackDone(at=NOW, utterance=2, heard_ms=10))
    assert call.phase is Phase.INTERRUPTED
    assert asked == [f.RunTool(tool_call_id="t2", name="check", arguments={})]


# --- the agent says goodbye -----------------------------------------------------------------------------------------

FAREWELL = e.AgentEnded(at=NOW, reason="assistant-ended-call")


@pytest.mark.parametrize("phase", [Phase.LISTENING, Phase.TOOL_PENDING])
def test_the_agent_leaves_while_nobody_speaks(phase: Phase) -> None:
    """Nothing is left to be heard: the line is closed at once."""
    call, asked = then(phase, FAREWELL)
    assert call.phase is Phase.ENDED and asked == hung_up("assistant-ended-call")


def test_the_agent_leaves_before_it_was_heard() -> None:
    """The caller gets the fallback."""
    call, asked = then(Phase.CONNECTING, FAREWELL)
    assert call.phase is Phase.TRANSFERRING and asked[-3:] == handed_over("assistant-ended-call", *FALLBACK)


def test_the_agent_leaves_in_an_interruption() -> None:
    """What it said last is gone; the call ends with the debounce, and if that never comes, all the same."""
    call, asked = then(Phase.INTERRUPTED, FAREWELL)
    assert call.phase is Phase.INTERRUPTED and asked == []
    ended, late = left_alone(call)
    assert [type(effect) for _, effect in late][-3:] == [f.CancelTools, f.EndAgent, f.HangUp]
    assert late[-1][0] <= NOW + 1.0 and ended.reason == "assistant-ended-call"


# --- tools ----------------------------------------------------------------------------------------------------------


def answered(at: float, tool: str = "t1") -> e.ToolAnswered:
    return e.ToolAnswered(at=at, tool_call_id=tool, ok=True, took_ms=5)


def test_a_tool_that_never_answers() -> None:
    """Vapi gives it up as well, and the agent has time of its own to say so: it is not taken for dead with the tool."""
    alone = Policy(lines=(), fallback_words="Sorry.")
    overdue_at = 5.2 + TOOL_PATIENCE_S
    call, asked = then(Phase.TOOL_PENDING, e.ReportArrived(at=overdue_at + 0.01, ended_reason="x"), policy=alone)
    assert (call.phase, call.entered_at, asked) == (Phase.LISTENING, overdue_at, [])
    call, asked = then(Phase.TOOL_PENDING, answered(overdue_at + 0.01), policy=alone)
    assert (call.phase, call.tools, asked) == (Phase.LISTENING, (), [])
    call, asked = then(Phase.TOOL_PENDING, e.UtteranceStarted(at=overdue_at + 3.0, utterance=2), policy=alone)
    assert (call.phase, asked) == (Phase.SPEAKING, [])
    call, _ = then(Phase.TOOL_PENDING)
    assert left_alone(call)[0].reason == "agent stalled"


def test_answers_while_something_else_goes_on() -> None:
    """One of two tools answers, and the other: the phase is not theirs to change while somebody speaks."""
    two = e.ToolRequested(at=5.25, tool_call_id="t2", name="book", arguments={})
    for phase in (Phase.SPEAKING, Phase.INTERRUPTED):
        one = e.ToolRequested(at=5.22, tool_call_id="t1", name="check", arguments={})
        call, asked = then(phase, one, two, answered(NOW))
        assert (call.phase, call.tools) == (phase, ("t2",)) and len(asked) == 2
        call, asked = then(phase, one, two, answered(NOW), answered(NOW + 0.01, "t2"))
        assert (call.phase, call.tools) == (phase, ()) and call.owed_for == "words"


def test_an_interruption_while_a_tool_works() -> None:
    """After the debounce the tool is what is waited for again."""
    call, asked = then(
        Phase.INTERRUPTED,
        e.AgentInterrupted(at=5.21),
        e.ToolRequested(at=5.25, tool_call_id="t2", name="book", arguments={}),
        e.ReportArrived(at=6.0, ended_reason="x"),
    )
    assert call.phase is Phase.TOOL_PENDING and call.entered_at == pytest.approx(5.5)
    assert asked[-1] == f.LetSpeak()


def test_the_caller_speaks_while_a_tool_works() -> None:
    """The agent does not begin over them; words make a turn, a noise none, and the tool works on."""
    voice = e.CallerVoice(at=NOW, onset_at=NOW - 0.04)
    call, asked = then(Phase.TOOL_PENDING, voice)
    assert asked == [f.Hold()] and call.held_at == NOW
    words = e.CallerTranscript(at=5.6, text="and a window", final=False)
    final = e.CallerTranscript(at=6.0, text="and a window please", final=True)
    quiet = e.CallerQuiet(at=5.9, voiced_ms=600)
    after = e.AgentTranscript(at=6.35, text="", final=True)
    call, asked = then(Phase.TOOL_PENDING, voice, words, quiet, final, after)
    assert call.phase is Phase.TOOL_PENDING and call.tools == ("t1",)
    assert [one for one in asked if not isinstance(one, f.SayLine)] == [
        f.Hold(), f.LetSpeak(), f.TakeTurn(text="and a window please"),
    ]  # fmt: skip
    call, asked = then(Phase.TOOL_PENDING, voice, e.AgentTranscript(at=6.9, text="", final=True))
    assert asked[:2] == [f.Hold(), f.LetSpeak(reason="background")]
    murmur = e.CallerTranscript(at=5.6, text="m", final=False)
    call, asked = then(Phase.TOOL_PENDING, voice, murmur)
    assert call.phase is Phase.TOOL_PENDING and asked == [f.Hold()]


def test_vapi_stops_itself_while_a_tool_works() -> None:
    """What it was about to say is gone, and what comes so soon after it too."""
    call, asked = then(Phase.TOOL_PENDING, e.AgentInterrupted(at=NOW))
    assert call.phase is Phase.TOOL_PENDING and asked == [f.Drop(reason="vapi", words="", guard_s=0.1)]
    assert call.held_at == NOW and call.agent_talking is False


def test_keys_while_a_tool_works() -> None:
    """They are collected and told as ever."""
    keys = [e.DigitPressed(at=NOW + n / 10, digit=digit) for n, digit in enumerate("42#")]
    call, asked = then(Phase.TOOL_PENDING, *keys)
    told = [one for one in asked if isinstance(one, f.TellAgent)]
    assert call.phase is Phase.TOOL_PENDING
    assert told == [f.TellAgent(role="system", content="The caller typed 4 2 on the keypad.", respond=True)]


def test_the_tools_word_comes_before_its_sound() -> None:
    """The agent talks, by Vapi's word, while a tool works: heard is only what UtteranceStarted says."""
    words: tuple[Event, ...] = (
        e.AgentSpeechStarted(at=NOW),
        e.AgentWords(at=NOW + 0.01, text="let me see"),
        e.AgentTranscript(at=NOW + 0.02, text="let me", final=False),
        e.AgentSpeechStopped(at=NOW + 0.1),
        e.ToolLate(at=NOW + 0.2, tool_call_id="t9", ok=True, took_ms=9),
        e.ReportArrived(at=NOW + 0.3, ended_reason="x"),
    )
    call, _ = then(Phase.TOOL_PENDING, *words)
    assert call.phase is Phase.TOOL_PENDING and call.agent_words == "let me see" and not call.agent_talking


# --- speaking -------------------------------------------------------------------------------------------------------


def test_a_speech_that_never_ends() -> None:
    """After two minutes it is dropped, and what comes then may be heard."""
    call, _ = then(Phase.SPEAKING)
    call, asked = step(call, e.DeadlinePassed(at=deadline_of(call)))
    assert call.phase is Phase.LISTENING and call.entered_at == 5.0 + LONGEST_SPEECH_S
    assert asked == (f.Drop(reason="speech too long"), f.LetSpeak(reason="speech too long"))


def test_a_key_that_completes_a_number_cuts_in() -> None:
    """Typed in the silence, completed over the next speech: it ends, and the agent is told the number once."""
    before = (*UP, *GREETING, e.DigitPressed(at=4.8, digit="4"), e.UtteranceStarted(at=5.0, utterance=2))
    call, asked = played(*before, e.DigitPressed(at=5.2, digit="#"))
    assert call.phase is Phase.INTERRUPTED
    assert [effect for at, effect in asked if at == 5.2] == [
        f.Drop(reason="key", guard_s=0.0),
        f.TellAgent(role="system", content="The caller pressed 4 on the keypad.", respond=True),
    ]
    talking = (*before[:-1], *TALKING)
    call, asked = played(*talking, e.DigitPressed(at=5.2, digit="#"))
    assert next(effect for at, effect in asked if at == 5.2) == f.Drop(reason="key", guard_s=None)


def test_audio_that_left_before_the_order_to_be_silent() -> None:
    """An utterance starts in an interruption: it is dropped, for as long as the agent talks on."""
    for talking, guard_s in (
        (e.AgentTranscript(at=5.25, text="x", final=False), None),
        (e.AgentInterrupted(at=5.25), 0.0),
    ):
        call, asked = then(Phase.INTERRUPTED, talking, e.UtteranceStarted(at=NOW, utterance=3))
        assert call.phase is Phase.INTERRUPTED and asked[-1] == f.Drop(reason="late", guard_s=guard_s)


def test_what_is_only_noted() -> None:
    """Vendors tell much that changes no phase and asks for nothing."""
    facts: tuple[Event, ...] = (
        e.AgentWords(at=NOW, text="well"),
        e.ReportArrived(at=NOW, ended_reason="x"),
        e.ToolLate(at=NOW, tool_call_id="t9", ok=True, took_ms=9),
        e.ToolAnswered(at=NOW, tool_call_id="t9", ok=True, took_ms=9),
        e.CallerTranscript(at=NOW, text="m", final=False),
    )
    for phase in TALKING_IN:
        for fact in facts:
            call, asked = then(phase, fact)
            assert call.phase is phase and asked == [], (phase, fact)


def test_without_a_hold_a_voice_is_only_noted() -> None:
    """Where the agent file says so, only words interrupt: a voice is known, and asks for nothing."""
    policy = Policy(turns=Turns(hold=False))
    for phase in TALKING_IN:
        call, asked = then(phase, e.CallerVoice(at=NOW, onset_at=NOW - 0.04), policy=policy)
        assert call.phase is phase and asked == [] and call.held_at is None and call.caller_voiced
        assert call.onset_at == NOW - 0.04


# --- a goodbye ------------------------------------------------------------------------------------------------------

ENDS = e.EndOrdered(at=NOW, reason="end_call")


@pytest.mark.parametrize("phase", [Phase.CONNECTING, Phase.LISTENING, Phase.TOOL_PENDING])
def test_the_agent_ends_the_call_while_nobody_speaks(phase: Phase) -> None:
    """Its goodbye was heard already: the line is closed at once."""
    call, asked = then(phase, ENDS)
    assert (call.phase, call.reason, asked) == (Phase.ENDED, "end_call", hung_up("end_call"))


def test_the_agent_ends_the_call_in_its_goodbye() -> None:
    """The last word is heard first; cutting into it calls the hang-up off."""
    call, asked = then(Phase.SPEAKING, ENDS)
    assert (call.phase, asked) == (Phase.SPEAKING, [])
    call, asked = then(Phase.SPEAKING, ENDS, e.PlaybackDone(at=6.0, utterance=2, heard_ms=1000))
    assert (call.phase, asked) == (Phase.ENDED, hung_up("end_call"))
    cut = e.CallerTranscript(at=5.6, text="wait", final=False)
    call, asked = then(Phase.SPEAKING, ENDS, cut)
    assert (call.phase, call.farewell_at, call.reason) == (Phase.INTERRUPTED, None, "")
    call, asked = then(Phase.INTERRUPTED, ENDS)
    assert (call.phase, call.farewell_at, asked) == (Phase.INTERRUPTED, None, [])


def test_a_goodbye_and_a_caller_who_talks_on_and_on() -> None:
    """Vapi has left; whatever the caller still says, the line is not kept open for more than its last words' time."""
    talk = [e.CallerTranscript(at=5.4 + n / 2, text="and then", final=False) for n in range(40)]
    call, asked = then(Phase.INTERRUPTED, FAREWELL, e.CallerVoice(at=5.35, onset_at=5.3), *talk)
    assert (call.phase, call.entered_at, call.reason) == (Phase.ENDED, NOW + LAST_WORDS_S, "assistant-ended-call")
    assert asked[-3:] == hung_up("assistant-ended-call")


def test_a_noise_into_a_line_while_a_tool_works() -> None:
    """Vapi stopped for it and nobody knows what was said: the tool is what is waited for, nobody is asked again."""
    call, asked = then(
        Phase.TOOL_PENDING,
        e.UtteranceStarted(at=5.25, utterance=2),
        e.CallerVoice(at=NOW, onset_at=NOW - 0.04),
        e.AgentInterrupted(at=5.35),
        e.CallerQuiet(at=5.45, voiced_ms=100),
        e.ReportArrived(at=6.6, ended_reason="x"),
    )
    assert (call.phase, call.cut_short, call.lines_said, call.tools) == (Phase.TOOL_PENDING, False, 1, ("t1",))
    assert asked == [f.Hold(), f.Drop(reason="vapi", words="", guard_s=0.1), f.LetSpeak()]


def test_a_late_end_when_a_tool_is_overdue() -> None:
    """The tool's time is over, and the last mark of what was said before it comes: nothing moves."""
    alone = Policy(lines=())
    late = e.PlaybackDone(at=5.2 + TOOL_PATIENCE_S + 0.1, utterance=1, heard_ms=10)
    call, asked = then(Phase.TOOL_PENDING, late, policy=alone)
    assert (call.phase, call.tools, asked) == (Phase.LISTENING, ("t1",), [])
