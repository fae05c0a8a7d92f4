"""Whole conversations told to the engine, without a clock: what it asks for, line by line."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import effects as f
from engine import events as e
from engine.agent import Silence, Turns
from engine.call import Call, Policy
from engine.events import Event
from engine.phases import Phase
from engine.rules import EVENTS, NAMED_ONLY_IN
from engine.step import opened, step
from engine.turns import deadline_of
from tests.engine.test_rules import sample

POLICY = Policy(fallback_words="Sorry, please call again.", fallback_number="+15550100")


def tell(*facts: Event, policy: Policy = POLICY) -> list[str]:
    """Play facts to a new call; deadlines pass by themselves between them."""
    call, effects = opened("call-1", policy)
    lines = [f"0.000 {call.phase}: {_names(effects)}"]

    def take(call: Call, fact: Event) -> Call:
        before = call.phase
        call, effects = step(call, fact)
        if call.phase is not before or effects:
            moved = f"{before} → {call.phase}" if call.phase is not before else str(before)
            lines.append(f"{fact.at:.3f} {moved}: {_names(effects)}".rstrip(": "))
        return call

    now = 0.0
    for fact in facts:
        while (due := deadline_of(call)) < fact.at:
            now = max(now, due)
            call = take(call, e.DeadlinePassed(at=now))
        now = fact.at
        call = take(call, fact)
    return lines


def _names(effects: tuple[object, ...]) -> str:
    return ", ".join(type(effect).__name__ for effect in effects)


UP = (e.StreamStarted(at=0.2, stream_sid="MZ1"), e.AgentConnected(at=0.6, agent_call_id="a"))
GREETING = (
    e.AgentSpeechStarted(at=0.9),
    e.UtteranceStarted(at=1.0, utterance=1),
    e.AgentSpeechStopped(at=2.0),
    e.PlaybackDone(at=3.0, utterance=1, heard_ms=2000),
)
CONNECTED = [
    "0.000 connecting: DialAgent",
    "0.600 connecting → listening",
    "1.000 listening → speaking",
    "3.000 speaking → listening",
]
LEAVE = "CancelTools, EndAgent, HangUp"
HAND_OVER = "CancelTools, EndAgent, HandOver"


def test_a_short_call() -> None:
    """The agent greets, says goodbye when asked, and the line closes after its last word was heard."""
    assert tell(
        *UP, *GREETING,
        e.CallerTranscript(at=4.0, text="goodbye", final=True),
        e.UtteranceStarted(at=4.4, utterance=2),
        e.AgentEnded(at=6.0, reason="assistant-ended-call"),
        e.PlaybackDone(at=6.4, utterance=2, heard_ms=1400),
    ) == [
        *CONNECTED,
        "4.300 listening: TakeTurn",
        "4.400 listening → speaking",
        f"6.400 speaking → ended: {LEAVE}",
    ]  # fmt: skip


TALKING = (e.AgentSpeechStarted(at=4.9), e.UtteranceStarted(at=5.0, utterance=2))
SPEAKS = [*CONNECTED, "5.000 listening → speaking"]


def test_caller_cuts_in() -> None:
    """Silent at the first voice, dropped by Vapi's word, heard again when the caller is quiet."""
    assert tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.AgentInterrupted(at=7.3),
        e.PlaybackDone(at=7.4, utterance=2, heard_ms=2400),
        e.CallerQuiet(at=8.0),
        e.UtteranceStarted(at=9.0, utterance=3),
    ) == [
        *SPEAKS,
        "7.000 speaking: Hold",
        "7.300 speaking → interrupted: Drop",
        "8.300 interrupted → listening: LetSpeak",
        "9.000 listening → speaking",
    ]  # fmt: skip


def test_a_cough() -> None:
    """A short voice without words: the agent goes on as soon as it is quiet."""
    assert tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.CallerQuiet(at=7.2, voiced_ms=120),
        e.PlaybackDone(at=9.0, utterance=2, heard_ms=2400),
    ) == [*SPEAKS, "7.000 speaking: Hold", "7.440 speaking: LetSpeak", "9.000 speaking → listening"]  # fmt: skip


def test_a_longer_noise_and_background_that_does_not_end() -> None:
    """Words are waited for; when none come the agent goes on, and background that stays is not waited for."""
    noise = tell(*UP, *GREETING, *TALKING, e.CallerVoice(at=7.0, onset_at=6.96), e.CallerQuiet(at=7.5, voiced_ms=400))
    assert noise == [*SPEAKS, "7.000 speaking: Hold"]
    assert tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.CallerQuiet(at=7.5, voiced_ms=400),
        e.AgentTranscript(at=8.4, text="as I said", final=False),
    )[-1] == "7.860 speaking: LetSpeak"  # fmt: skip
    assert tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.AgentTranscript(at=9.0, text="as I said", final=False),
    )[-1] == "8.500 speaking: LetSpeak"  # fmt: skip


def test_uh_huh_and_stop() -> None:
    """A backchannel lets the agent go on, at once if the caller is quiet; an order to stop is obeyed at once."""
    voice = (*UP, *GREETING, *TALKING, e.CallerVoice(at=7.0, onset_at=6.96))
    late = tell(*voice, e.CallerQuiet(at=7.4, voiced_ms=240), e.CallerTranscript(at=7.6, text="Uh-huh.", final=False))
    assert late[-1] == "7.600 speaking: LetSpeak"
    early = tell(*voice, e.CallerTranscript(at=7.3, text="uh huh", final=False), e.CallerQuiet(at=7.4, voiced_ms=240))
    assert early[-1] == "7.400 speaking: LetSpeak"
    stop = tell(*voice, e.CallerTranscript(at=7.3, text="stop", final=False))
    assert stop[-1] == "7.300 speaking → interrupted: Drop"


def test_words_while_vapi_talks_on() -> None:
    """Words end the speech, whatever Vapi does; when it does not notice them, it is told to stop."""
    words = (*UP, *GREETING, *TALKING, e.CallerVoice(at=7.0, onset_at=6.96), e.CallerQuiet(at=7.4, voiced_ms=300))
    cut = (*words, e.CallerTranscript(at=7.5, text="eight works", final=False))
    assert tell(*cut)[-1] == "7.500 speaking → interrupted: Drop"
    assert tell(*cut, e.AgentInterrupted(at=7.6))[-1] == "7.600 interrupted: Drop"
    assert tell(*cut, e.AgentSpeechStopped(at=7.6))[-1] == "7.600 interrupted: Keep"
    assert tell(
        *cut,
        e.AgentSpeechStopped(at=8.8),
        e.AgentSpeechStarted(at=8.8),
        e.UtteranceStarted(at=8.9, utterance=3),
    )[-4:] == [
        "8.500 interrupted: StopAgent",
        "8.800 interrupted: Keep",
        "8.800 interrupted → listening: LetSpeak",
        "8.900 listening → speaking",
    ]  # fmt: skip


def test_a_stop_that_vapi_does_not_hear() -> None:
    """Nothing of the old speech is heard; what comes after it is."""
    assert tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.CallerTranscript(at=7.3, text="stop please", final=False),
        e.CallerQuiet(at=7.6),
        e.AgentSpeechStopped(at=9.0),
        e.AgentSpeechStarted(at=9.2),
    )[-5:] == [
        "7.000 speaking: Hold",
        "7.300 speaking → interrupted: Drop",
        "8.300 interrupted: StopAgent",
        "9.000 interrupted: Keep",
        "9.000 interrupted → listening: LetSpeak",
    ]  # fmt: skip


def test_the_answer_to_a_barge_in_is_kept_until_the_caller_is_quiet() -> None:
    """The agent answers before the debounce is over: it is heard then, from its first syllable."""
    lines = tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.AgentInterrupted(at=7.2),
        e.CallerQuiet(at=7.3),
        e.AgentSpeechStarted(at=7.35),
        e.UtteranceStarted(at=7.61, utterance=3),
    )  # fmt: skip
    assert lines[-3:] == [
        "7.350 interrupted: Keep",
        "7.600 interrupted → listening: LetSpeak",
        "7.610 listening → speaking",
    ]


def test_a_partial_transcript_interrupts_and_two_letters_do_not() -> None:
    """Interrupt on partials; a final one only if it was spoken into this speech."""
    speaking = (*UP, *GREETING, e.UtteranceStarted(at=5.0, utterance=2))
    assert tell(*speaking, e.CallerTranscript(at=6.0, text="eig", final=False))[-1] == (
        "6.000 speaking → interrupted: Drop"
    )
    for harmless in (("ei", False), ("eight works", True)):
        text, final = harmless
        assert tell(*speaking, e.CallerTranscript(at=6.0, text=text, final=final))[-1] == "5.000 listening → speaking"
    late = (*speaking, e.CallerVoice(at=5.5, onset_at=5.46), e.CallerQuiet(at=5.9, voiced_ms=240))
    assert tell(*late, e.CallerTranscript(at=6.9, text="eight works", final=True))[-2:] == [
        "6.360 speaking: LetSpeak",
        "6.900 speaking → interrupted: Drop",
    ]


def test_the_agent_does_not_begin_while_the_caller_speaks() -> None:
    """Held from the caller's first voice; let go when they are quiet, or when it is only background."""
    spoke = (*UP, *GREETING, e.CallerVoice(at=4.0, onset_at=3.96))
    assert tell(*spoke, e.CallerQuiet(at=5.0), e.AgentSpeechStarted(at=5.6))[-2:] == [
        "4.000 listening: Hold",
        "5.300 listening: LetSpeak",
    ]
    assert tell(*spoke, e.AgentSpeechStarted(at=5.6))[-1] == "5.500 listening: LetSpeak"
    words = (*spoke, e.CallerTranscript(at=5.0, text="I would like", final=False))
    assert tell(*words, e.AgentSpeechStarted(at=6.4))[-1] == "4.000 listening: Hold", "words keep it held"


def test_one_turn_however_often_they_correct_themselves() -> None:
    """Wednesday, no Thursday, actually Friday."""
    call, _ = opened("c", POLICY)
    turns: list[str] = []
    facts = [
        *UP, *GREETING,
        e.CallerVoice(at=4.0, onset_at=3.96),
        e.CallerTranscript(at=4.5, text="Wednesday", final=True),
        e.CallerTranscript(at=4.7, text="no Thursday", final=True),
        e.CallerQuiet(at=4.8),
        e.CallerVoice(at=4.9, onset_at=4.86),
        e.CallerTranscript(at=5.0, text="actually Friday", final=True),
        e.CallerQuiet(at=5.2),
        e.CallerMurmured(at=6.0, text=""),
    ]  # fmt: skip
    for fact in facts:
        while (due := deadline_of(call)) < fact.at:
            call, effects = step(call, e.DeadlinePassed(at=due))
            turns += [effect.text for effect in effects if isinstance(effect, f.TakeTurn)]
        call, _ = step(call, fact)
    assert turns == ["Wednesday no Thursday actually Friday"]


def test_legal_text_is_heard_to_its_end() -> None:
    """Neither voice nor words nor Vapi interrupt a protected speech; the next one is interrupted as ever."""
    policy = Policy(turns=Turns(uninterruptible=("this call is recorded",)))
    legal = (*UP, *GREETING, e.AgentWords(at=4.8, text="Please note: this call is recorded."), *TALKING)
    cut = (
        e.CallerVoice(at=6.0, onset_at=5.96),
        e.CallerTranscript(at=6.3, text="stop stop", final=False),
        e.AgentInterrupted(at=6.4),
        e.CallerQuiet(at=6.6),
        e.PlaybackDone(at=7.0, utterance=2, heard_ms=2000),
    )
    assert tell(*legal, *cut, policy=policy) == [*SPEAKS, "7.000 speaking → listening"]
    after = (
        e.AgentWords(at=8.0, text="How can I help?"),
        e.UtteranceStarted(at=8.1, utterance=3),
        e.CallerVoice(at=8.6, onset_at=8.56),
    )
    assert tell(*legal, *cut, *after, policy=policy)[-1] == "8.600 speaking: Hold", "not deaf afterwards"


def test_the_agent_owes_an_answer() -> None:
    """A filler after 500 ms, a line whenever it has been silent for too long, and in the end the truth.

    It is not asked again meanwhile: an answer that takes six seconds would begin anew.
    """
    assert tell(
        *UP, *GREETING,
        e.CallerVoice(at=4.0, onset_at=3.96),
        e.CallerQuiet(at=5.0),
        e.CallerTranscript(at=5.4, text="is eight free", final=True),
        e.UtteranceStarted(at=5.95, utterance=2, ours=True),
        e.PlaybackDone(at=6.5, utterance=2, heard_ms=500),
        e.UtteranceStarted(at=8.05, utterance=3, ours=True),
        e.PlaybackDone(at=8.75, utterance=3, heard_ms=700),
        e.UtteranceStarted(at=10.3, utterance=4, ours=True),
        e.PlaybackDone(at=11.0, utterance=4, heard_ms=700),
        e.HandedOver(at=15.0, how="asked"),
    )[4:] == [
        "4.000 listening: Hold",
        "5.300 listening: LetSpeak",
        "5.700 listening: TakeTurn",
        "5.900 listening: SayLine",
        "5.950 listening → speaking",
        "6.500 speaking → listening",
        "8.000 listening: SayLine",
        "8.050 listening → speaking",
        "8.750 speaking → listening",
        "10.250 listening: SayLine",
        "10.300 listening → speaking",
        "11.000 speaking → listening",
        "12.500 listening: SayLine",
        f"13.400 listening → transferring: {HAND_OVER}",
        f"15.000 transferring → ended: {LEAVE}",
    ]  # fmt: skip


def test_an_agent_that_may_have_forgotten_its_answer_is_asked_again() -> None:
    """A cough before the answer: Vapi may take it for the caller's next turn, and wait for its words."""
    lines = tell(
        *UP, *GREETING,
        e.CallerVoice(at=4.0, onset_at=3.96),
        e.CallerQuiet(at=5.0),
        e.CallerTranscript(at=5.4, text="is eight free", final=True),
        e.CallerVoice(at=5.6, onset_at=5.56),
        e.CallerQuiet(at=5.8, voiced_ms=120),
        e.UtteranceStarted(at=6.35, utterance=2, ours=True),
        e.PlaybackDone(at=6.8, utterance=2, heard_ms=400),
        e.AgentTranscript(at=9.0, text="", final=True),
    )  # fmt: skip
    assert lines[-4:] == [
        "6.140 listening: SayLine",
        "6.350 listening → speaking",
        "6.800 speaking → listening",
        "8.300 listening: SayLine, TellAgent",
    ]


def test_an_agent_that_is_not_heard_while_it_believes_that_it_speaks() -> None:
    """Its sound stops in mid-speech; when its words are over, what was not heard is still owed, and it is told so."""
    stalled = (
        *UP, *GREETING, *TALKING,
        e.PlaybackDone(at=7.0, utterance=2, heard_ms=2000),
        e.UtteranceStarted(at=7.55, utterance=3, ours=True),
        e.PlaybackDone(at=8.0, utterance=3, heard_ms=400),
    )  # fmt: skip
    lines = tell(*stalled, e.AgentSpeechStopped(at=8.5), e.AgentTranscript(at=10.0, text="", final=True))
    assert lines[-1] == "9.500 listening: SayLine, TellAgent"
    late = tell(
        *UP, *GREETING, *TALKING,
        e.PlaybackDone(at=7.0, utterance=2, heard_ms=2000),
        e.AgentSpeechStopped(at=7.3),
        e.AgentTranscript(at=10.0, text="", final=True),
    )  # fmt: skip
    assert lines[:5] == late[:5] and late[-1] == "7.000 speaking → listening", "the word of its end was only late"


def test_nobody_is_there_to_understand_the_caller() -> None:
    """Asked twice to say it again, without a sign of life from the agent: at the third time, the fallback."""

    def voice(at: float) -> tuple[Event, Event]:
        return e.CallerVoice(at=at, onset_at=at - 0.04), e.CallerQuiet(at=at + 1, voiced_ms=900)

    lines = tell(
        *UP, *GREETING, *voice(4.0), *voice(9.0), *voice(14.0), e.AgentTranscript(at=16.5, text="", final=True)
    )
    asked = [line for line in lines if "SayLine" in line or "HandOver" in line]
    assert asked == [
        "6.240 listening: SayLine",
        "11.240 listening: SayLine",
        f"16.240 listening → transferring: {HAND_OVER}",
    ]
    alive = tell(
        *UP, *GREETING, *voice(4.0), *voice(9.0), e.UtteranceStarted(at=12.0, utterance=2),
        e.PlaybackDone(at=13.0, utterance=2, heard_ms=900), *voice(14.0),
        e.AgentTranscript(at=17.0, text="", final=True),
    )  # fmt: skip
    assert alive[-1] == "16.240 listening: SayLine"


def test_words_that_never_become_final() -> None:
    """The recogniser dies in the middle of what the caller says: they are asked to say it again."""
    lines = tell(
        *UP, *GREETING,
        e.CallerVoice(at=4.0, onset_at=3.96),
        e.CallerTranscript(at=4.5, text="I would like", final=False),
        e.CallerQuiet(at=5.0, voiced_ms=900),
        e.AgentTranscript(at=7.0, text="", final=True),
    )  # fmt: skip
    assert lines[-1] == "6.240 listening: SayLine"


def test_nobody_knows_what_the_caller_said() -> None:
    """A voice without words is answered with a question; a noise that stopped Vapi gets it going again."""
    asked = tell(*UP, *GREETING, e.CallerVoice(at=4.0, onset_at=3.96), e.CallerQuiet(at=4.9, voiced_ms=700),
                 e.AgentWords(at=7.0, text=""))  # fmt: skip
    assert asked[-1] == "6.140 listening: SayLine"
    late = (e.CallerVoice(at=4.0, onset_at=3.96), e.CallerQuiet(at=4.9, voiced_ms=700))
    words = e.CallerTranscript(at=6.0, text="a table for", final=False)
    known = tell(*UP, *GREETING, *late, words, e.AgentWords(at=6.2, text=""), policy=Policy(lines=("unheard",)))
    assert known[-1] == "5.200 listening: LetSpeak", "words that come late are words: nobody asks"
    stopped = tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.AgentInterrupted(at=7.2),
        e.CallerQuiet(at=7.3),
        e.AgentSpeechStopped(at=7.3),
        e.AgentWords(at=9.6, text=""),
    )  # fmt: skip
    assert stopped[-3:] == [
        "7.600 interrupted → listening: LetSpeak",
        "8.340 listening: TellAgent",
        "8.640 listening: SayLine",
    ]


def test_the_caller_is_silent() -> None:
    """Prompt, prompt, goodbye; a word during the goodbye cancels the hang-up."""
    greeted = (*UP, *GREETING)

    def said(at: float, n: int) -> tuple[Event, Event]:
        line = e.UtteranceStarted(at=at, utterance=n, ours=True)
        return line, e.PlaybackDone(at=at + 1, utterance=n, heard_ms=900)

    prompts = (*said(13.1, 2), *said(23.1, 3))
    lines = tell(*greeted, *prompts, *said(63.1, 4))
    assert [line for line in lines if "Say" in line or "ended" in line] == [
        "13.000 listening: SayLine",
        "23.000 listening: SayLine",
        "63.000 listening: SayLine",
        f"64.100 speaking → ended: {LEAVE}",
    ]
    rescued = tell(
        *greeted, *prompts,
        e.UtteranceStarted(at=63.1, utterance=4, ours=True),
        e.CallerVoice(at=63.5, onset_at=63.46),
        e.CallerTranscript(at=63.9, text="wait I am here", final=False),
        e.CallerQuiet(at=64.5),
        e.CallerTranscript(at=65.0, text="wait I am here", final=True),
        e.UtteranceStarted(at=65.4, utterance=5),
    )  # fmt: skip
    assert rescued[-1] == "65.400 listening → speaking"


def test_a_cough_as_the_last_word_is_heard() -> None:
    """Nothing is left to go on with: the silence began with the cough's end, not with the decision about it."""
    assert tell(
        *UP, *GREETING,
        e.CallerTranscript(at=4.0, text="is eight free", final=True),
        e.UtteranceStarted(at=4.55, utterance=2, ours=True),
        e.CallerVoice(at=4.9, onset_at=4.86),
        e.CallerQuiet(at=5.3, voiced_ms=240),
        e.PlaybackDone(at=5.761, utterance=2, heard_ms=400),
        e.AgentTranscript(at=7.0, text="", final=True),
    )[-3:] == [
        "5.760 speaking: LetSpeak",
        "5.761 speaking → listening",
        "6.640 listening: SayLine, TellAgent",
    ]  # fmt: skip


def test_a_voice_begins_as_the_last_word_is_heard() -> None:
    """Held, and then the last mark comes: the hold ends with the voice, or nothing would ever be heard again."""
    assert tell(
        *UP, *GREETING, *TALKING,
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.PlaybackDone(at=7.0, utterance=2, heard_ms=2000),
        e.CallerQuiet(at=7.3, voiced_ms=140),
        e.AgentTranscript(at=8.0, text="", final=True),
    ) == [
        *SPEAKS,
        "7.000 speaking: Hold",
        "7.000 speaking → listening",
        "7.600 listening: LetSpeak",
        "7.640 listening: SayLine",
    ]  # fmt: skip


def test_a_line_of_ours_is_cut_off() -> None:
    """The caller speaks over a filler: what is then owed has fillers again, and the call no other reason to end."""
    cut = (
        *UP, *GREETING,
        e.UtteranceStarted(at=63.1, utterance=2, ours=True),
        e.CallerVoice(at=63.5, onset_at=63.46),
        e.CallerTranscript(at=63.9, text="wait I am here", final=False),
        e.CallerQuiet(at=64.5),
        e.CallerTranscript(at=65.0, text="wait I am here", final=True),
        e.AgentTranscript(at=66.0, text="", final=True),
    )  # fmt: skip
    policy = Policy(silence=Silence(idle_prompts_s=(70.0,)))
    assert tell(*cut, policy=policy)[-3:] == [
        "64.800 interrupted → listening: LetSpeak",
        "65.300 listening: TakeTurn",
        "65.500 listening: SayLine",
    ]
    call, _ = opened("c", policy)
    for fact in cut:
        while (due := deadline_of(call)) < fact.at:
            call, _ = step(call, e.DeadlinePassed(at=due))
        call, _ = step(call, fact)
    assert (call.closing, call.reason) == (False, "")


def test_keys_are_collected() -> None:
    """A key cuts in; the agent is told the whole number, once."""
    keys = [e.DigitPressed(at=6.0 + n / 2, digit=digit) for n, digit in enumerate("407")]
    after = (e.AgentSpeechStopped(at=9.2), e.AgentWords(at=9.5, text=""))
    assert tell(*UP, *GREETING, *TALKING, *keys, *after)[-4:] == [
        "6.000 speaking → interrupted: Drop",
        "9.000 interrupted: TellAgent",
        "9.200 interrupted: Keep",
        "9.200 interrupted → listening: LetSpeak",
    ]
    done = tell(*UP, *GREETING, *(e.DigitPressed(at=4.0 + n / 2, digit=digit) for n, digit in enumerate("40#")))
    assert done[-1] == "5.000 listening: TellAgent"


def test_keys_over_legal_text() -> None:
    """They do not end it, and the agent is told all of them when it was heard, end key or not."""
    policy = Policy(turns=Turns(uninterruptible=("this call is recorded",)))
    legal = (*UP, *GREETING, e.AgentWords(at=4.8, text="Please note: this call is recorded."), *TALKING)
    keys = [e.DigitPressed(at=6.0 + n / 4, digit=digit) for n, digit in enumerate("12#3")]
    over = (*legal, *keys, e.PlaybackDone(at=9.5, utterance=2, heard_ms=4500), e.AgentWords(at=10.0, text=""))
    assert tell(*over, policy=policy) == [
        *SPEAKS,
        "9.500 speaking → listening",
        "9.500 listening: TellAgent",
    ]


def test_a_turn_that_is_made_of_partials() -> None:
    """Where the recogniser sends nothing else, they are owed an answer as well."""
    lines = tell(
        *UP, *GREETING,
        e.CallerVoice(at=4.0, onset_at=3.96),
        e.CallerTranscript(at=4.8, text="is eight free", final=False),
        e.CallerQuiet(at=5.0, voiced_ms=900),
        e.AgentTranscript(at=7.0, text="", final=True),
        policy=Policy(turns=Turns(act_on="partials")),
    )  # fmt: skip
    assert lines[-3:] == ["5.300 listening: TakeTurn", "5.300 listening: LetSpeak", "5.800 listening: SayLine"]


def test_a_caller_who_talks_and_talks() -> None:
    """After a minute without a pause the agent is told to step in, once."""
    talk = [e.CallerTranscript(at=4.0 + n, text="and then", final=False) for n in range(75)]
    lines = tell(*UP, *GREETING, e.CallerVoice(at=4.0, onset_at=3.96), *talk)
    assert [line for line in lines if "TellAgent" in line] == ["63.960 listening: LetSpeak, TellAgent"]


def test_a_tool_while_the_agent_fills_the_silence() -> None:
    """A tool is asked for while the agent says that it is looking; its answer comes after that was heard."""
    lines = tell(
        *UP, *GREETING,
        e.UtteranceStarted(at=5.0, utterance=2),
        e.ToolRequested(at=5.1, tool_call_id="t1", name="check", arguments={}),
        e.PlaybackDone(at=6.0, utterance=2, heard_ms=900),
        e.ToolAnswered(at=7.0, tool_call_id="t1", ok=True, took_ms=1900),
    )  # fmt: skip
    assert lines[-3:] == [
        "5.100 speaking: RunTool",
        "6.000 speaking → tool_pending",
        "7.000 tool_pending → listening",
    ]


def test_a_tool_that_takes_longer_than_an_agent_may() -> None:
    """The agent has its patience from the tool's answer on; before, the call gave up the moment that it came."""
    lines = tell(
        *UP, *GREETING,
        e.ToolRequested(at=5.0, tool_call_id="t1", name="check", arguments={}),
        e.ToolAnswered(at=15.0, tool_call_id="t1", ok=True, took_ms=10_000),
        e.UtteranceStarted(at=16.0, utterance=2),
        policy=Policy(lines=()),
    )  # fmt: skip
    assert lines[-3:] == [
        "5.000 listening → tool_pending: RunTool",
        "15.000 tool_pending → listening",
        "16.000 listening → speaking",
    ]


def test_two_tools_at_once() -> None:
    """The phase lasts until the last of them has answered."""
    lines = tell(
        *UP, *GREETING,
        e.ToolRequested(at=5.0, tool_call_id="t1", name="a", arguments={}),
        e.ToolRequested(at=5.0, tool_call_id="t2", name="b", arguments={}),
        e.ToolAnswered(at=6.0, tool_call_id="t2", ok=True, took_ms=1000),
        e.ToolAnswered(at=7.0, tool_call_id="t1", ok=False, took_ms=2000),
    )  # fmt: skip
    assert lines[-4:] == [
        "5.000 listening → tool_pending: RunTool",
        "5.000 tool_pending: RunTool",
        "5.500 tool_pending: SayLine",
        "7.000 tool_pending → listening",
    ]


def test_vapi_is_slow_and_then_there() -> None:
    """Nobody waits in silence: a holding sentence within two seconds of being connected."""
    assert tell(e.StreamStarted(at=0.2, stream_sid="MZ1"), e.AgentConnected(at=3.0, agent_call_id="a")) == [
        "0.000 connecting: DialAgent",
        "1.700 connecting: SayLine",
        "3.000 connecting → listening",
    ]


def test_vapi_never_comes() -> None:
    """After the patience is over, Twilio gets the call back with the fallback words."""
    lines = tell(
        e.StreamStarted(at=0.2, stream_sid="MZ1"),
        e.HandedOver(at=6.4, how="asked"),
    )  # fmt: skip
    assert lines[1:4] == ["1.700 connecting: SayLine", "3.200 connecting: SayLine", "4.700 connecting: SayLine"]
    assert lines[4:] == [f"6.200 connecting → transferring: {HAND_OVER}", f"6.400 transferring → ended: {LEAVE}"]


def test_vapi_refuses_before_the_stream_is_there() -> None:
    """The stream is sent on the moment it opens."""
    assert tell(
        e.AgentLost(at=0.1, why="401"),
        e.StreamStarted(at=0.3, stream_sid="MZ1"),
        e.StreamEnded(at=0.32, reason="closed", stopped=False),
        e.HandedOver(at=0.4, how="asked"),
    )[1:] == [
        f"0.100 connecting → transferring: {HAND_OVER}",
        f"0.300 transferring: {HAND_OVER}",
        f"0.400 transferring → ended: {LEAVE}",
    ]


def test_twilio_never_comes_for_its_words() -> None:
    """If the hand-over is not fetched, REST pushes it."""
    lines = tell(*UP, e.AgentLost(at=2.0, why="died"), e.ReportArrived(at=30.0, ended_reason="x"))
    assert lines[-2:] == [f"2.000 listening → transferring: {HAND_OVER}", "10.000 transferring → ended: RescueByRest"]


def test_the_fallback_says_what_the_agent_file_says() -> None:
    """The orders carry the words and the number."""
    call, _ = opened("c", POLICY)
    call, effects = step(call, e.AgentLost(at=1.0, why="401"))
    assert (effects[-1].words, effects[-1].number) == (POLICY.fallback_words, POLICY.fallback_number)  # type: ignore[attr-defined]
    assert call.reason == "agent lost: 401"


def test_caller_hangs_up() -> None:
    """The agent stops costing money at once."""
    assert tell(*UP, *GREETING, e.StreamEnded(at=4.0, reason="stop", stopped=True))[-1] == (
        f"4.000 listening → ended: {LEAVE}"
    )


def test_a_silent_call_ends_with_words() -> None:
    """Without a voice of our own Twilio says them: a minute of nothing from anybody is enough."""
    lines = tell(*UP, *GREETING, e.HandedOver(at=70.0, how="asked"), policy=Policy(lines=()))
    assert lines[4] == f"63.000 listening → transferring: {HAND_OVER}"


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    raw = [event for event in EVENTS if event not in NAMED_ONLY_IN] + [e.CallerTranscript]
    kinds = draw(st.lists(st.sampled_from(raw), max_size=40))
    at, facts = 0.0, []
    for kind in kinds:
        at += draw(st.floats(min_value=0.0, max_value=8.0, allow_nan=False))
        facts.append(msgspec.structs.replace(sample(kind), at=at))
    return facts


@given(histories())
@settings(max_examples=300, deadline=None)
def test_no_history_is_impossible_and_every_deadline_moves_on(facts: list[Event]) -> None:
    """Whatever the legs say in whatever order: a rule covers it, and no deadline passes twice."""
    call, _ = opened("c", POLICY)
    for fact in facts:
        for _ in range(50):
            due = deadline_of(call)
            if due > fact.at:
                break
            call, _ = step(call, e.DeadlinePassed(at=due))
            assert deadline_of(call) > due or call.phase is Phase.ENDED
        call, _ = step(call, fact)
    for _ in range(50):
        if call.phase is Phase.ENDED:
            break
        call, _ = step(call, e.DeadlinePassed(at=deadline_of(call)))
    assert call.phase is Phase.ENDED, "left alone, every call ends"
