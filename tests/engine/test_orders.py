"""The orders to the letter: with which words, reason, number and guard each of them leaves."""

from __future__ import annotations

import pytest

from engine import effects as f
from engine import events as e
from engine.agent import Silence, Turns
from engine.call import Policy
from engine.events import Event
from engine.phases import Phase
from engine.rules import RULES
from engine.turns import STREAM_PATIENCE_S
from tests.engine.test_edges import FALLBACK, NOW, handed_over, left_alone, played, then
from tests.engine.test_stories import GREETING, POLICY, TALKING, UP

CUT = e.CallerTranscript(at=6.0, text="eight works", final=False)
HEARD_OUT = e.AgentSpeechStopped(at=5.5)


def test_no_rule_leads_to_its_own_phase() -> None:
    """It would start the phase's clock anew."""
    assert not [row for row in RULES if row.to is row.phase]


@pytest.mark.parametrize(("before", "guard_s"), [((), None), ((HEARD_OUT,), 0.0)])
def test_words_drop_what_the_agent_says(before: tuple[Event, ...], guard_s: float | None) -> None:
    """While Vapi talks on, nothing of it is heard until it says something new; otherwise the next sound is new."""
    _, asked = then(Phase.SPEAKING, *before, CUT)
    assert asked == [f.Drop(reason="words", words="eight works", guard_s=guard_s)]
    final = e.CallerTranscript(at=6.0, text="eight works", final=True)
    _, asked = then(Phase.SPEAKING, *before, e.CallerVoice(at=5.6, onset_at=5.56), final)
    assert asked[-1] == f.Drop(reason="final", words="eight works", guard_s=guard_s)
    stop = e.CallerTranscript(at=6.0, text="stop", final=False)
    assert then(Phase.SPEAKING, *before, stop)[1] == [f.Drop(reason="phrase", words="stop", guard_s=guard_s)]


@pytest.mark.parametrize(("before", "guard_s"), [((), None), ((HEARD_OUT,), 0.0)])
def test_a_key_drops_what_the_agent_says(before: tuple[Event, ...], guard_s: float | None) -> None:
    """As a word does."""
    assert then(Phase.SPEAKING, *before, e.DigitPressed(at=6.0, digit="5"))[1] == [
        f.Drop(reason="key", guard_s=guard_s)
    ]


def test_vapi_says_that_it_was_interrupted() -> None:
    """The words go into the certificate: those that are not final yet, or those of the turn so far."""
    voice = e.CallerVoice(at=6.0, onset_at=5.96)
    told = e.AgentInterrupted(at=6.5)
    partial = e.CallerTranscript(at=6.2, text="eight works", final=False)
    final = e.CallerTranscript(at=6.3, text="eight works for us", final=True)
    assert then(Phase.SPEAKING, voice, told)[1] == [f.Hold(), f.Drop(reason="vapi", words="", guard_s=0.1)]
    assert then(Phase.SPEAKING, voice, partial, told)[1][-1] == f.Drop(reason="vapi", words="eight works", guard_s=0.1)
    said = f.Drop(reason="vapi", words="eight works for us", guard_s=0.1)
    assert then(Phase.SPEAKING, voice, partial, final, told)[1][-1] == said


def test_a_stop_that_vapi_misses() -> None:
    """It is told to stop, once; a second later, not sooner."""
    _, asked = then(Phase.SPEAKING, CUT, e.AgentTranscript(at=7.9, text="and then", final=False))
    assert asked[1:] == [f.StopAgent()]
    assert then(Phase.SPEAKING, CUT, e.AgentTranscript(at=6.9, text="and then", final=False))[1][1:] == []


def lines(asked: list[f.Effect]) -> list[tuple[str, int]]:
    return [(one.kind, one.n) for one in asked if isinstance(one, f.SayLine)]


def test_each_kind_of_line_takes_its_turns() -> None:
    """The first time is number 0; each kind is counted by itself, over the whole call."""
    question = e.CallerTranscript(at=5.0, text="is eight free", final=True)
    answer = (e.UtteranceStarted(at=9.0, utterance=2), e.PlaybackDone(at=9.5, utterance=2, heard_ms=500))
    again = e.CallerTranscript(at=10.0, text="and nine", final=True)
    call, asked = played(*UP, *GREETING, question, *answer, again, e.AgentTranscript(at=14.0, text="x", final=True))
    assert lines([one for _, one in asked]) == [
        ("filler", 0), ("progress", 0), ("progress", 1), ("filler", 1), ("progress", 2), ("progress", 3),
    ]  # fmt: skip
    assert call.said == {"filler": 2, "progress": 4}
    call, asked = played(e.StreamStarted(at=0.2, stream_sid="MZ1"), e.AgentConnected(at=5.0, agent_call_id="a"))
    assert lines([one for _, one in asked]) == [("holding", 0), ("holding", 1), ("holding", 2)]
    call, asked = played(*UP, *GREETING, e.ReportArrived(at=64.0, ended_reason="x"))
    assert lines([one for _, one in asked]) == [("idle", 0), ("idle", 1), ("goodbye", 0)]


def voices(*at: float) -> list[Event]:
    return [
        fact for one in at for fact in (e.CallerVoice(at=one, onset_at=one), e.CallerQuiet(at=one + 0.9, voiced_ms=700))
    ]


def test_asked_to_say_it_again() -> None:
    """Number 0, number 1; then the agent is taken for dead, because nobody has understood anything."""
    _, asked = played(*UP, *GREETING, *voices(4.0, 8.0), e.ReportArrived(at=11.0, ended_reason="x"))
    assert lines([one for _, one in asked]) == [("unheard", 0), ("unheard", 1)]


def told(asked: list[tuple[float, f.Effect]]) -> list[f.TellAgent]:
    return [one for _, one in asked if isinstance(one, f.TellAgent)]


GO_ON = "You were interrupted by a noise; the caller said nothing. Go on with what you were saying."
WAITING = "The caller is waiting for your answer."
SAY_AGAIN = "The caller did not hear the end of what you said. Say it again."
STEP_IN = "The caller has been talking for long. Step in politely: sum up what they want, or ask."


def test_what_the_agent_is_told() -> None:
    """Always as a system message that it answers at once."""
    noise = (e.CallerVoice(at=7.0, onset_at=6.96), e.AgentInterrupted(at=7.2), e.CallerQuiet(at=7.3))
    _, asked = played(*UP, *GREETING, *TALKING, *noise, e.AgentSpeechStopped(at=7.3), e.AgentWords(at=9.6, text=""))
    assert told(asked) == [f.TellAgent(role="system", content=GO_ON, respond=True)]
    question = e.CallerTranscript(at=5.0, text="is eight free", final=True)
    cough = (e.CallerVoice(at=5.4, onset_at=5.36), e.CallerQuiet(at=5.7, voiced_ms=100))
    _, asked = played(*UP, *GREETING, question, *cough, e.AgentTranscript(at=9.5, text="", final=True))
    assert told(asked) == [f.TellAgent(role="system", content=WAITING, respond=True)]
    _, asked = played(*UP, *GREETING, question, e.AgentTranscript(at=9.5, text="", final=True))
    assert told(asked) == [], "a slow agent has not forgotten"
    same = (e.CallerVoice(at=4.9, onset_at=5.0), e.CallerQuiet(at=5.05, voiced_ms=100))
    _, asked = played(*UP, *GREETING, *same[:1], question, *same[1:], e.AgentTranscript(at=9.5, text="", final=True))
    assert told(asked) == [], "the voice that began with the words was theirs"


def test_the_end_of_a_speech_that_nobody_heard() -> None:
    """Vapi believes that it speaks, nothing comes; it is asked to say it again with the second line."""
    stalled = (*UP, *GREETING[:2], e.PlaybackDone(at=3.0, utterance=1, heard_ms=2000))
    over = e.AgentSpeechStopped(at=4.0)
    _, asked = played(*stalled, over, e.AgentTranscript(at=8.0, text="", final=True))
    assert told(asked) == [f.TellAgent(role="system", content=SAY_AGAIN, respond=True)]
    _, asked = played(*stalled, e.AgentTranscript(at=8.0, text="", final=True))
    assert told(asked) == [], "it speaks still, by its own word"


def test_stepping_in() -> None:
    """The agent is told, and let through, because the caller does not pause."""
    talk = [e.CallerTranscript(at=4.0 + n, text="and then", final=False) for n in range(62)]
    _, asked = played(*UP, *GREETING, e.CallerVoice(at=4.0, onset_at=3.96), *talk)
    at, orders = zip(*[(at, one) for at, one in asked if not isinstance(one, f.Hold | f.DialAgent)][-2:], strict=True)
    assert at == pytest.approx((63.96, 63.96))
    assert orders == (
        f.LetSpeak(reason="caller talks long"),
        f.TellAgent(role="system", content=STEP_IN, respond=True),
    )


def test_nobody_opens_the_stream() -> None:
    """Ten seconds, and the call is taken elsewhere with words."""
    call, asked = left_alone(played()[0])
    assert asked[0][0] == STREAM_PATIENCE_S and [one for _, one in asked[:3]] == handed_over(
        "stream never opened", *FALLBACK
    )
    assert call.reason == "stream never opened"


def test_a_tool_before_the_line_is_there() -> None:
    """It runs: the agent may be ahead of the line."""
    ask = e.ToolRequested(at=NOW, tool_call_id="t1", name="check", arguments={"day": "friday"})
    call, asked = then(Phase.CONNECTING, ask)
    run = f.RunTool(tool_call_id="t1", name="check", arguments={"day": "friday"})
    assert (call.phase, call.tools, asked) == (Phase.CONNECTING, ("t1",), [run])


def test_the_agent_gives_no_sign_of_life() -> None:
    """Eight seconds after the question the caller is helped otherwise."""
    question = e.CallerTranscript(at=5.0, text="is eight free", final=True)
    call, asked = played(*UP, *GREETING, question, e.ReportArrived(at=13.1, ended_reason="x"), policy=Policy(lines=()))
    assert call.entered_at == 13.0 and [one for _, one in asked[-3:]] == handed_over(
        "agent stalled", Policy().fallback_words, None
    )


def test_the_agent_never_comes() -> None:
    """Six seconds after the caller is there."""
    call, asked = left_alone(played(e.StreamStarted(at=0.2, stream_sid="MZ1"))[0])
    assert call.reason == "agent overdue"
    given = [(at, one) for at, one in asked if not isinstance(one, f.SayLine)]
    assert given[0][0] == pytest.approx(6.2) and [one for _, one in given[:3]] == handed_over(
        "agent overdue", *FALLBACK
    )


def test_the_caller_says_nothing_for_too_long() -> None:
    """Where there is no voice for a goodbye, Twilio says it."""
    policy = Policy(lines=(), silence=Silence(idle_prompts_s=()))
    call, asked = left_alone(played(*UP, *GREETING, policy=policy)[0])
    assert call.reason == "nobody spoke" and asked[0][0] == 63.0
    assert [one for _, one in asked[:3]] == handed_over("nobody spoke", policy.goodbye_words, None)


def test_the_gate_in_a_silence_of_the_agent() -> None:
    """Held with the voice, let go with the quiet; background does not hold it for ever."""
    voice = e.CallerVoice(at=5.3, onset_at=5.26)
    _, asked = then(Phase.LISTENING, voice, e.CallerQuiet(at=5.5, voiced_ms=100), e.AgentWords(at=5.81, text=""))
    assert asked == [f.Hold(), f.LetSpeak()]
    _, asked = then(Phase.LISTENING, voice, e.AgentWords(at=6.81, text=""))
    assert asked == [f.Hold(), f.LetSpeak(reason="background")]
    _, asked = then(Phase.LISTENING, voice, e.AgentWords(at=6.79, text=""))
    assert asked == [f.Hold()]


def test_false_alarms_have_reasons() -> None:
    """They go into the certificate: noise, no words, a backchannel, an echo."""
    voice = e.CallerVoice(at=5.3, onset_at=5.26)
    later = e.AgentWords(at=7.0, text="")

    def reason(*facts: Event) -> str:
        _, asked = then(Phase.SPEAKING, voice, *facts, later)
        (hold, let) = asked
        assert hold == f.Hold() and isinstance(let, f.LetSpeak)
        return let.reason

    assert reason(e.CallerQuiet(at=5.5, voiced_ms=100)) == "noise"
    assert reason(e.CallerQuiet(at=5.6, voiced_ms=300)) == "no words"
    assert reason() == "no words"
    assert reason(e.CallerTranscript(at=5.4, text="uh-huh", final=False), e.CallerQuiet(at=5.5)) == "backchannel"


def test_without_a_debounce_the_agent_is_heard_when_vapi_agrees() -> None:
    """The policy's own number, not another."""
    policy = Policy(turns=Turns(debounce_ms=0), fallback_words=POLICY.fallback_words)
    call, asked = then(Phase.INTERRUPTED, e.AgentInterrupted(at=5.3), e.AgentWords(at=5.41, text=""), policy=policy)
    assert call.phase is Phase.LISTENING and call.entered_at == pytest.approx(5.4) and asked[-1] == f.LetSpeak()
