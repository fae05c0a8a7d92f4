"""What each event leaves in the state of the call, and the policy's own numbers."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.agent import Agent, Fallback, Limits, Silence, Turns
from engine.call import (
    ANSWERED_MS,
    CALL_VERSION,
    FINAL_FOLLOWS_S,
    HANGOVER_S,
    MOST_KEPT_KEYS,
    MOST_WORDS,
    NOTHING_LEFT_S,
    Call,
    Policy,
)
from engine.phases import Phase
from engine.step import opened
from engine.turns import (
    GIVE_UP_TIMES,
    GO_ON_S,
    HAND_OVER_S,
    LAST_WORDS_S,
    LONGEST_SHUT_S,
    LONGEST_SPEECH_S,
    MOST_UNHEARD,
    PAUSE_S,
    SOUND_FOLLOWS_S,
    STREAM_PATIENCE_S,
    TOOL_PATIENCE_S,
    USER_INTERRUPTED_GUARD_S,
    VERDICT_S,
    WORDS_FOLLOW_S,
)
from tests.engine.test_edges import NOW, played, then
from tests.engine.test_stories import GREETING, POLICY, TALKING, UP


def test_the_numbers_that_people_feel() -> None:
    """Whoever changes one of these changes how every call feels: not by a slip of the hand."""
    assert (HANGOVER_S, FINAL_FOLLOWS_S, ANSWERED_MS, NOTHING_LEFT_S) == (0.16, 0.8, 400.0, 0.02)
    assert (USER_INTERRUPTED_GUARD_S, SOUND_FOLLOWS_S, PAUSE_S, WORDS_FOLLOW_S) == (0.1, 0.5, 0.24, 0.3)
    assert (VERDICT_S, LONGEST_SHUT_S, GO_ON_S) == (1.0, 2.0, 1.2)
    assert (LONGEST_SPEECH_S, LAST_WORDS_S, STREAM_PATIENCE_S, TOOL_PATIENCE_S, HAND_OVER_S) == (120, 12, 10, 20, 8)
    assert (MOST_UNHEARD, GIVE_UP_TIMES, MOST_WORDS, MOST_KEPT_KEYS, CALL_VERSION) == (2, 3, 500, 64, 2)


def test_a_call_that_has_just_opened() -> None:
    """Nothing has happened, and the policy is the agent file's default."""
    call, _ = opened("c", Policy(), at=3.0)
    assert (call.phase, call.opened_at, call.entered_at, call.active_at) == (Phase.CONNECTING, 3.0, 3.0, 3.0)
    plain = Call("c")
    names = {name for name in plain.__struct_fields__ if getattr(plain, name)}
    assert names == {"call_id", "policy", "phase", "keys", "v"}, (
        "no flag, no count and no time is there from the beginning"
    )
    policy = Policy()
    assert policy.agent_first and not policy.greeting_protected
    assert (policy.idle_s, policy.max_duration_s, policy.holding_after_s, policy.agent_patience_s) == (60, 600, 1.5, 6)


def test_a_policy_of_an_agent_file() -> None:
    """Every key of the file that the engine decides by arrives."""
    agent = Agent(
        "a",
        assistant={"firstMessageMode": "assistant-waits-for-user", "firstMessageInterruptionsEnabled": False},
        fallback=Fallback(words="Sorry.", number="+15550100"),
        limits=Limits(idle_s=11.0, max_duration_s=22.0),
        turns=Turns(debounce_ms=1),
        silence=Silence(filler_after_ms=2),
    )
    policy = Policy.of(agent, lines=("idle",), local_minutes=3)
    assert (policy.turns, policy.silence, policy.digits) == (agent.turns, agent.silence, agent.digits)
    assert (policy.lines, policy.local_minutes, policy.agent_first, policy.greeting_protected) == (
        ("idle",),
        3,
        False,
        True,
    )
    assert (policy.idle_s, policy.max_duration_s) == (11.0, 22.0)
    assert (policy.fallback_words, policy.fallback_number) == ("Sorry.", "+15550100")
    plain = Policy.of(Agent("a", assistant_id="x"))
    assert plain.agent_first and not plain.greeting_protected and plain.lines == () and plain.local_minutes is None


def test_a_leg_that_is_up() -> None:
    """Its time, and that something happened."""
    call, _ = played(e.StreamStarted(at=0.2, stream_sid="MZ1"))
    assert (call.line_up_at, call.agent_up_at, call.active_at, call.sound_at) == (0.2, None, 0.2, 0.2)
    call, _ = played(e.AgentConnected(at=0.3, agent_call_id="a"))
    assert (call.line_up_at, call.agent_up_at, call.active_at, call.alive_at) == (None, 0.3, 0.3, 0.3)
    call, _ = played(*UP)
    assert (call.line_up_at, call.agent_up_at, call.sound_at, call.alive_at) == (0.2, 0.6, 0.6, 0.6)
    assert (call.owed_since, call.owed_for, call.lines_said) == (0.6, "start", 0)
    call, _ = played(e.AgentConnected(at=0.3, agent_call_id="a"), e.StreamStarted(at=0.7, stream_sid="MZ1"))
    assert (call.line_up_at, call.agent_up_at, call.sound_at, call.alive_at) == (0.7, 0.3, 0.7, 0.3)
    waits, _ = played(*UP, policy=Policy(agent_first=False))
    assert (waits.owed_since, waits.owed_for) == (None, "")


VOICE = e.CallerVoice(at=NOW, onset_at=NOW - 0.04)


def near(seconds: float) -> Any:
    """That moment, but for the last bits."""
    return pytest.approx(seconds)


def test_a_voice() -> None:
    """Since when, for how long without a pause, and that the agent waits for it."""
    for phase in (Phase.LISTENING, Phase.SPEAKING, Phase.TOOL_PENDING):
        call, _ = then(phase, VOICE)
        assert (call.caller_voiced, call.onset_at, call.talking_since) == (True, NOW - 0.04, NOW - 0.04)
        assert (call.voice_at, call.active_at, call.held_at) == (NOW, NOW, NOW)
        again, _ = then(phase, VOICE, e.CallerVoice(at=NOW + 0.1, onset_at=NOW + 0.06))
        assert (again.held_at, again.onset_at, again.talking_since) == (NOW, NOW + 0.06, NOW - 0.04)
    call, _ = then(Phase.INTERRUPTED, VOICE)
    assert call.held_at is None and call.voice_at == NOW
    call, _ = then(Phase.CONNECTING, VOICE)
    assert call.held_at is None and call.caller_voiced


def test_a_pause_as_long_as_the_debounce_is_one() -> None:
    """The caller's talking is counted anew after it, and stepping in may be ordered anew."""
    quiet = e.CallerQuiet(at=6.0, voiced_ms=600)
    short, _ = then(Phase.LISTENING, VOICE, quiet, e.CallerVoice(at=6.3, onset_at=6.26))
    assert short.talking_since == NOW - 0.04
    long, _ = then(Phase.LISTENING, VOICE, quiet, e.CallerVoice(at=6.31, onset_at=6.27))
    assert long.talking_since == 6.27


def test_a_voice_that_ends() -> None:
    """It was over before the detector said so; if it was long and nobody knows what was said, an answer is owed."""
    quiet = e.CallerQuiet(at=6.0, voiced_ms=ANSWERED_MS)
    call, _ = then(Phase.LISTENING, VOICE, quiet)
    assert (call.caller_voiced, call.voiced_ms, call.voice_at, call.active_at) == (False, 400.0, 6.0, 6.0)
    assert call.sound_at == near(5.84)
    assert (call.owed_since, call.owed_for) == (near(5.84), "voice")
    call, _ = then(Phase.LISTENING, VOICE, e.CallerQuiet(at=6.0, voiced_ms=ANSWERED_MS - 1))
    assert (call.owed_since, call.owed_for) == (None, "")
    call, _ = then(Phase.SPEAKING, VOICE, quiet)
    assert call.owed_since is None, "into a speech it is the words that decide"
    words = e.CallerTranscript(at=5.5, text="is eight free", final=True)
    call, _ = then(Phase.LISTENING, VOICE, words, quiet)
    assert (call.owed_since, call.owed_for) == (5.5, "words")
    partial = e.CallerTranscript(at=5.5, text="is eight", final=False)
    call, _ = then(Phase.LISTENING, VOICE, partial, quiet)
    assert (call.owed_since, call.owed_for, call.partial) == (near(5.84), "voice", "is eight")
    murmur = e.CallerTranscript(at=5.5, text="uh-huh", final=False)
    call, _ = then(Phase.LISTENING, VOICE, murmur, quiet)
    assert call.dismissed == "backchannel" and call.owed_since is None
    call, _ = then(
        Phase.LISTENING, VOICE, quiet, e.CallerVoice(at=6.2, onset_at=6.16), e.CallerQuiet(at=6.6, voiced_ms=100)
    )
    assert (call.owed_since, call.owed_for) == (near(6.44), "voice"), "still owed, from the later end"


def test_partial_words_say_when_an_answer_is_due() -> None:
    """They were understood, and will be final soon."""
    quiet = e.CallerQuiet(at=6.0, voiced_ms=600)
    call, _ = then(Phase.LISTENING, VOICE, quiet, e.CallerTranscript(at=6.1, text="is eight free", final=False))
    assert (call.owed_since, call.owed_for, call.lines_said) == (near(6.1 + FINAL_FOLLOWS_S), "words", 0)
    assert (call.words_at, call.alive_at, call.spoke, call.partial) == (6.1, 6.1, True, "is eight free")


def test_the_turn_grows_with_final_words() -> None:
    """They are kept, bounded; the latest win; whoever speaks is neither idle nor unheard."""
    call, _ = then(
        Phase.LISTENING,
        e.CallerTranscript(at=5.3, text="wednesday", final=False),
        e.CallerTranscript(at=5.4, text="wednesday", final=True),
        e.CallerTranscript(at=5.5, text="no thursday", final=True),
    )
    assert (call.turn, call.partial, call.words_at, call.active_at) == ("wednesday no thursday", "", 5.5, 5.5)
    assert (call.owed_since, call.owed_for, call.idle_said, call.unheard) == (5.5, "words", 0, 0)
    long = e.CallerTranscript(at=5.3, text="ab" * MOST_WORDS, final=True)
    assert len(then(Phase.LISTENING, long)[0].turn) == MOST_WORDS
    partial = e.CallerTranscript(at=5.3, text="ab" * MOST_WORDS, final=False)
    assert len(then(Phase.LISTENING, partial)[0].partial) == MOST_WORDS
    prompted, _ = played(*UP, *GREETING, e.CallerTranscript(at=14.0, text="yes I am", final=True))
    assert prompted.said == {"idle": 1} and prompted.idle_said == 0


def test_a_turn_that_is_over() -> None:
    """Its words are gone from the state, and the answer is owed since they were said."""
    final = e.CallerTranscript(at=5.3, text="is eight free", final=True)
    call, _ = then(Phase.LISTENING, final, e.ReportArrived(at=5.7, ended_reason="x"))
    assert (call.turn, call.partial, call.owed_since) == ("", "", 5.3)
    policy = Policy(turns=Turns(act_on="partials"))
    partial = e.CallerTranscript(at=5.3, text="is eight free", final=False)
    call, _ = then(Phase.LISTENING, partial, e.ReportArrived(at=5.7, ended_reason="x"), policy=policy)
    assert (call.turn, call.partial, call.owed_since, call.owed_for) == ("", "", near(5.6), "words")


def test_what_the_agent_says() -> None:
    """Its words piece by piece, whole until the next speech, bounded; and that it lives."""
    begins = (e.AgentSpeechStarted(at=5.3), e.AgentWords(at=5.31, text="is eight"), e.AgentWords(at=5.4, text="fine"))
    call, _ = then(Phase.LISTENING, *begins)
    assert (call.agent_words, call.words_over, call.agent_talking, call.talking_at) == (
        "is eight fine",
        False,
        True,
        5.3,
    )
    assert (call.active_at, call.alive_at) == (5.3, 5.4)
    call, _ = then(Phase.LISTENING, *begins, e.AgentSpeechStopped(at=5.5))
    assert (call.agent_words, call.words_over, call.agent_talking) == ("is eight fine", True, False)
    assert (call.active_at, call.alive_at) == (5.5, 5.5)
    call, _ = then(Phase.LISTENING, *begins, e.AgentSpeechStopped(at=5.5), e.AgentWords(at=5.6, text="or nine"))
    assert (call.agent_words, call.words_over) == ("or nine", False)
    call, _ = then(Phase.LISTENING, e.AgentWords(at=5.3, text="y" * (MOST_WORDS + 9)))
    assert len(call.agent_words) == MOST_WORDS


def test_the_agents_transcript() -> None:
    """A partial one tells its words where nothing better did; a final one may come late and tells nothing new."""
    call, _ = then(Phase.LISTENING, e.AgentTranscript(at=5.3, text="is eight fine", final=False))
    assert (call.agent_words, call.words_over, call.active_at, call.alive_at) == ("is eight fine", False, 5.3, 5.3)
    call, _ = then(Phase.LISTENING, e.AgentTranscript(at=5.3, text="is eight fine", final=True))
    assert call.agent_words == "" and call.alive_at == 5.3
    words = e.AgentWords(at=5.3, text="is eight fine for you")
    call, _ = then(Phase.LISTENING, words, e.AgentTranscript(at=5.4, text="is eight", final=False))
    assert call.agent_words == "is eight fine for you"
    call, _ = then(Phase.LISTENING, e.AgentTranscript(at=5.3, text="z" * (MOST_WORDS + 9), final=False))
    assert len(call.agent_words) == MOST_WORDS


def test_what_is_heard() -> None:
    """The agent's speech pays what is owed; a line of ours does not."""
    asked = e.CallerTranscript(at=5.3, text="is eight free", final=True)
    ours, _ = then(Phase.LISTENING, asked, e.UtteranceStarted(at=5.6, utterance=7, ours=True))
    assert (ours.utterance, ours.ours, ours.owed_since, ours.active_at) == (7, True, 5.3, 5.3)
    call, _ = then(Phase.LISTENING, asked, e.UtteranceStarted(at=5.6, utterance=7))
    assert (call.utterance, call.ours, call.owed_since, call.owed_for) == (7, False, None, "")
    assert (call.active_at, call.alive_at, call.idle_said, call.unheard, call.cut_short) == (5.6, 5.6, 0, 0, False)


def test_what_was_heard_out() -> None:
    """The silence begins; the greeting is over; what the agent still owes is more of what it says."""
    talking, _ = then(Phase.SPEAKING, e.PlaybackDone(at=6.0, utterance=2, heard_ms=1000))
    assert (talking.sound_at, talking.active_at, talking.greeted) == (6.0, 6.0, True)
    assert (talking.owed_since, talking.owed_for) == (6.0, "stall")
    said = e.AgentSpeechStopped(at=5.5)
    done, _ = then(Phase.SPEAKING, said, e.PlaybackDone(at=6.0, utterance=2, heard_ms=1000))
    assert (done.owed_since, done.owed_for) == (None, "")
    paid, _ = then(Phase.SPEAKING, e.PlaybackDone(at=6.0, utterance=2, heard_ms=1000), e.AgentSpeechStopped(at=6.1))
    assert (paid.owed_since, paid.owed_for) == (None, "")
    tool = e.ToolRequested(at=5.5, tool_call_id="t1", name="check", arguments={})
    looks, _ = then(Phase.SPEAKING, tool, e.PlaybackDone(at=6.0, utterance=2, heard_ms=1000))
    assert (looks.owed_since, looks.owed_for, looks.lines_said, looks.greeted) == (6.0, "tool", 1, True)
    ours = e.UtteranceStarted(at=5.5, utterance=3, ours=True)
    line, _ = then(Phase.LISTENING, ours, e.PlaybackDone(at=6.0, utterance=3, heard_ms=500))
    assert (line.ours, line.sound_at, line.active_at) == (False, 6.0, 3.0)


def test_nothing_was_left_to_go_on_with() -> None:
    """A hold, a false alarm, and the speech ends at once: the silence began with the noise's end."""
    noise = (VOICE, e.CallerQuiet(at=5.5, voiced_ms=100))
    resumed_at = 5.5 + PAUSE_S
    at_once, _ = then(Phase.SPEAKING, *noise, e.PlaybackDone(at=resumed_at + 0.01, utterance=2, heard_ms=900))
    assert (at_once.resumed_at, at_once.sound_at) == (near(resumed_at), near(5.34))
    later, _ = then(Phase.SPEAKING, *noise, e.PlaybackDone(at=resumed_at + 0.03, utterance=2, heard_ms=900))
    assert later.sound_at == near(resumed_at + 0.03)


def test_a_false_alarm() -> None:
    """Nobody spoke: nothing is owed for it, and the voice is known to mean nothing."""
    call, _ = then(
        Phase.SPEAKING, VOICE, e.CallerQuiet(at=5.5, voiced_ms=100), e.ReportArrived(at=5.8, ended_reason="x")
    )
    assert (call.held_at, call.dismissed, call.caller_voiced, call.owed_since) == (None, "noise", False, None)
    call, _ = then(Phase.SPEAKING, VOICE, e.ReportArrived(at=7.0, ended_reason="x"))
    assert (call.held_at, call.dismissed, call.caller_voiced) == (None, "no words", False)
    assert call.sound_at == near(NOW + 1.5) and call.resumed_at == near(NOW + 1.5)
    call, _ = then(Phase.LISTENING, VOICE, e.ReportArrived(at=7.0, ended_reason="x"))
    assert (call.held_at, call.dismissed, call.caller_voiced) == (None, "", True), "they may well be speaking"


def test_vapis_word_on_an_interruption() -> None:
    """It counts for this interruption only; without a speech it holds the agent as a voice does."""
    told = e.AgentInterrupted(at=5.6)
    call, _ = then(Phase.SPEAKING, told)
    assert (call.confirmed_at, call.dropped, call.spoke, call.agent_talking, call.words_over) == (
        5.6, True, False, False, True,
    )  # fmt: skip
    assert (call.active_at, call.alive_at) == (5.6, 5.6)
    words = e.CallerTranscript(at=5.5, text="eight", final=True)
    call, _ = then(Phase.SPEAKING, VOICE, words, told)
    assert call.spoke and call.confirmed_at == 5.6
    held, _ = then(Phase.LISTENING, told)
    assert (held.held_at, held.dropped) == (5.6, False)
    already, _ = then(Phase.LISTENING, VOICE, told)
    assert already.held_at == NOW
    new, _ = then(Phase.SPEAKING, told, e.CallerQuiet(at=5.65), e.UtteranceStarted(at=6.5, utterance=3))
    assert new.phase is Phase.SPEAKING and new.confirmed_at == 5.6
    again, _ = then(
        Phase.SPEAKING, told, e.CallerQuiet(at=5.65), e.UtteranceStarted(at=6.5, utterance=3),
        e.CallerVoice(at=7.0, onset_at=6.96),
    )  # fmt: skip
    assert again.confirmed_at is None


def test_tools_and_what_is_owed_for_them() -> None:
    """From the ask on; from the answer on the agent's own time runs; a line was said meanwhile in any case."""
    call, _ = then(Phase.TOOL_PENDING)
    assert (call.tools, call.owed_since, call.owed_for, call.active_at, call.alive_at) == (
        ("t1",),
        5.2,
        "tool",
        5.2,
        5.2,
    )
    answered = e.ToolAnswered(at=5.4, tool_call_id="t1", ok=True, took_ms=200)
    call, _ = then(Phase.TOOL_PENDING, answered)
    assert (call.tools, call.owed_since, call.owed_for) == ((), 5.2, "words")
    assert (call.active_at, call.alive_at) == (5.4, 5.4)
    call, _ = then(Phase.TOOL_PENDING, e.UtteranceStarted(at=5.3, utterance=2), answered)
    assert (call.phase, call.owed_since, call.owed_for) == (Phase.SPEAKING, 5.4, "words")


# --- interruptions --------------------------------------------------------------------------------------------------


def words(at: float, text: str = "is eight free", *, final: bool = False) -> e.CallerTranscript:
    return e.CallerTranscript(at=at, text=text, final=final)


def test_when_the_caller_cut_in() -> None:
    """Words into a speech, or over a voice for which the agent waits; words of an old turn that come late do not."""
    assert then(Phase.SPEAKING, words(5.6))[0].cut_at == 5.6
    assert then(Phase.LISTENING, words(5.6))[0].cut_at == 0.0
    assert then(Phase.LISTENING, VOICE, words(5.6))[0].cut_at == 5.6
    assert then(Phase.INTERRUPTED, words(5.6, "no wait"))[0].cut_at == 5.2
    assert then(Phase.INTERRUPTED, VOICE, words(5.6, "no wait"))[0].cut_at == 5.6
    assert then(Phase.SPEAKING, e.DigitPressed(at=5.6, digit="5"))[0].cut_at == 5.6
    assert then(Phase.SPEAKING, e.AgentInterrupted(at=5.6))[0].cut_at == 5.6
    known = then(Phase.SPEAKING, VOICE, words(5.5, final=True), e.AgentInterrupted(at=5.6))[0]
    assert (known.said_at, known.cut_at) == (5.5, 5.5), "by words that were known already"
    old = then(Phase.SPEAKING, words(5.3, "is eight", final=True), VOICE, e.AgentInterrupted(at=5.6))[0]
    assert old.said_at == 5.3 and old.cut_at == 5.3
    new = then(Phase.SPEAKING, words(5.1, "is eight", final=True), VOICE, e.AgentInterrupted(at=5.6))[0]
    assert new.cut_at == 5.6, "what was said before this voice did not cut in"


def test_what_the_model_may_answer() -> None:
    """Final words are put to it; so is a turn of partials once it is over, and no empty one."""
    said, _ = then(Phase.LISTENING, words(5.6, final=True))
    assert (said.prompted_at, said.said_at) == (5.6, 5.6)
    assert then(Phase.LISTENING, words(5.6))[0].prompted_at == 0.0
    over, _ = then(Phase.LISTENING, words(5.6, final=True), e.ReportArrived(at=5.91, ended_reason="x"))
    assert (over.turn, over.prompted_at) == ("", 5.6)
    partials = Policy(turns=Turns(act_on="partials"))
    over, _ = then(Phase.LISTENING, words(5.6), e.ReportArrived(at=5.91, ended_reason="x"), policy=partials)
    assert (over.partial, over.prompted_at, over.said_at) == ("", near(5.9), near(5.9))


def test_an_interruption_begins_clean() -> None:
    """What the last one knew is not of this one."""
    first = (words(5.6, "stop"), e.AgentTranscript(at=6.7, text="and", final=False))  # Vapi was told to stop
    again = (e.UtteranceStarted(at=8.0, utterance=3), words(8.5, "stop it"))
    call, asked = then(Phase.SPEAKING, *first, e.ReportArrived(at=6.8, ended_reason="x"))
    assert call.overruled and call.dropped
    call, _ = then(Phase.SPEAKING, *first, e.ReportArrived(at=7.7, ended_reason="x"))
    assert (call.phase, call.dropped, call.spoke) == (Phase.LISTENING, False, False)
    call, _ = then(Phase.SPEAKING, *first, *again)
    assert (call.phase, call.dropped, call.overruled, call.fresh) == (Phase.INTERRUPTED, True, False, False)
    call, asked = then(Phase.SPEAKING, *first, *again, e.AgentTranscript(at=9.6, text="and", final=False))
    assert sum(type(one).__name__ == "StopAgent" for one in asked) == 2
    call, _ = then(Phase.SPEAKING, e.CallerTranscript(at=5.3, text="m", final=False))
    assert call.dropped is False


def test_words_that_end_nothing_drop_nothing() -> None:
    """Only what is heard can be dropped."""
    for phase in (Phase.LISTENING, Phase.TOOL_PENDING):
        assert then(phase, words(5.6))[0].dropped is False
    assert then(Phase.SPEAKING, words(5.6))[0].dropped is True


def test_a_key_is_an_interruption_of_its_own() -> None:
    """Vapi's word on an earlier one no longer counts, and it is not told to stop: it hears of the keys."""
    earlier = (e.AgentInterrupted(at=5.3), e.UtteranceStarted(at=6.5, utterance=3))
    call, _ = then(Phase.SPEAKING, *earlier)
    assert (call.phase, call.confirmed_at) == (Phase.SPEAKING, 5.3)
    call, _ = then(Phase.SPEAKING, *earlier, e.DigitPressed(at=6.8, digit="5"))
    assert (call.confirmed_at, call.dropped, call.overruled, call.fresh) == (None, True, True, False)
    assert (call.active_at, call.idle_said, call.spoke) == (6.8, 0, True)


GOODBYE = (*UP, *GREETING, e.UtteranceStarted(at=63.1, utterance=2, ours=True))


def test_our_goodbye() -> None:
    """It is the reason why the call ends, unless the caller says anything, or presses a key."""
    call, _ = played(*GOODBYE)
    assert (call.closing, call.reason) == (True, "nobody spoke")
    ended, _ = played(*GOODBYE, e.PlaybackDone(at=64.0, utterance=2, heard_ms=900))
    assert (ended.phase, ended.reason) == (Phase.ENDED, "nobody spoke")
    for fact in (words(63.5, "wait"), e.DigitPressed(at=63.5, digit="5"), e.AgentInterrupted(at=63.5)):
        call, _ = played(*GOODBYE, fact)
        assert (call.phase, call.closing, call.reason) == (Phase.INTERRUPTED, False, ""), fact


def test_a_goodbye_of_the_agents_that_is_called_off() -> None:
    """Nothing of it is left."""
    ends = e.EndOrdered(at=5.3, reason="end_call")
    call, _ = then(Phase.SPEAKING, ends)
    assert (call.end_ordered, call.farewell_at, call.reason) == (True, 5.3, "end_call")
    call, _ = then(Phase.SPEAKING, ends, words(5.6, "wait"))
    assert (call.end_ordered, call.farewell_at, call.reason) == (False, None, "")


def test_a_line_of_ours_that_was_cut() -> None:
    """It has no end that could be noted."""
    ours = (e.UtteranceStarted(at=5.3, utterance=3, ours=True), words(5.6, "wait"), e.AgentInterrupted(at=5.7))
    call, _ = then(Phase.LISTENING, *ours)
    assert (call.phase, call.ours) == (Phase.INTERRUPTED, True)
    call, _ = then(Phase.LISTENING, *ours, e.ReportArrived(at=6.1, ended_reason="x"))
    assert (call.phase, call.ours, call.owed_for) == (Phase.LISTENING, False, "words")


def test_the_answer_that_vapi_begins_in_an_interruption_is_fresh() -> None:
    """It need not be waited out: the debounce is enough."""
    call, _ = then(Phase.INTERRUPTED, e.AgentSpeechStarted(at=5.3))
    assert call.fresh and call.agent_talking
    call, _ = then(Phase.INTERRUPTED, e.AgentSpeechStarted(at=5.3), e.ReportArrived(at=5.51, ended_reason="x"))
    assert (call.phase, call.entered_at) == (Phase.LISTENING, 5.5)
    call, _ = then(Phase.INTERRUPTED, e.ReportArrived(at=7.19, ended_reason="x"))
    assert call.phase is Phase.INTERRUPTED
    call, _ = then(Phase.INTERRUPTED, e.ReportArrived(at=7.21, ended_reason="x"))
    assert (call.phase, call.entered_at) == (Phase.LISTENING, 5.2 + LONGEST_SHUT_S)


def test_a_protected_greeting() -> None:
    """Voice, words, keys and Vapi's own word do nothing to it; the next speech is as any other."""
    policy = Policy(greeting_protected=True)
    greeting = (*UP, *GREETING[:2])
    for fact in (
        e.CallerVoice(at=1.5, onset_at=1.46), words(1.5, "stop"), e.AgentInterrupted(at=1.5),
        e.DigitPressed(at=1.5, digit="5"),
    ):  # fmt: skip
        call, asked = played(*greeting, fact, policy=policy)
        assert call.phase is Phase.SPEAKING and len(asked) == 1 and call.held_at is None, fact
    call, _ = played(*greeting, e.AgentInterrupted(at=1.5), policy=policy)
    assert (call.agent_talking, call.words_over, call.alive_at) == (False, True, 1.5)
    call, _ = played(*UP, *GREETING, e.UtteranceStarted(at=5.0, utterance=2), words(5.5, "stop"), policy=policy)
    assert call.phase is Phase.INTERRUPTED


def test_murmurs() -> None:
    """They are a sign that Vapi lives; a backchannel and an echo dismiss the voice that they came with."""
    call, _ = then(Phase.LISTENING, words(5.3, "m"))
    assert (call.alive_at, call.dismissed) == (5.3, "")
    call, _ = then(Phase.LISTENING, words(5.3, "uh-huh"))
    assert (call.alive_at, call.dismissed) == (5.3, "backchannel")


def test_what_the_agents_speech_puts_right() -> None:
    """Prompts and questions of ours are counted anew after it, and nothing is owed, nor was said of it."""
    call, _ = played(*UP, *GREETING, e.ReportArrived(at=13.1, ended_reason="x"))
    assert call.idle_said == 1
    call, _ = played(*UP, *GREETING, e.UtteranceStarted(at=13.5, utterance=2))
    assert (call.idle_said, call.unheard, call.lines_said) == (0, 0, 0)
    asked = words(5.3, final=True)
    call, _ = then(Phase.LISTENING, asked, e.ReportArrived(at=5.85, ended_reason="x"))
    assert call.lines_said == 1
    call, _ = then(Phase.LISTENING, asked, e.UtteranceStarted(at=5.9, utterance=2))
    assert (call.lines_said, call.owed_since) == (0, None)


def test_nobody_knows_what_was_said() -> None:
    """They are asked, and nothing more is owed; after words, or the agent's, it is counted anew."""
    loud = (VOICE, e.CallerQuiet(at=6.0, voiced_ms=600))
    call, _ = then(Phase.LISTENING, *loud, e.ReportArrived(at=7.3, ended_reason="x"))
    assert (call.unheard, call.owed_since, call.owed_for, call.said) == (1, None, "", {"unheard": 1})
    call, _ = then(Phase.LISTENING, *loud, e.ReportArrived(at=7.3, ended_reason="x"), words(7.4))
    assert call.unheard == 0
    call, _ = then(Phase.LISTENING, *loud, e.UtteranceStarted(at=7.4, utterance=2))
    assert call.unheard == 0


def test_exactly_at_the_bound() -> None:
    """What comes in the very moment still counts as before it, or as after it: always the same."""
    policy = Policy(turns=Turns(debounce_ms=500))
    quiet = e.CallerQuiet(at=6.0, voiced_ms=600)
    call, _ = then(Phase.LISTENING, VOICE, quiet, e.CallerVoice(at=6.5, onset_at=6.46), policy=policy)
    assert call.talking_since == NOW - 0.04
    noise = (VOICE, e.CallerQuiet(at=5.5, voiced_ms=100))
    resumed, _ = then(Phase.SPEAKING, *noise, e.ReportArrived(at=5.745, ended_reason="x"))
    done_at = resumed.resumed_at + NOTHING_LEFT_S
    call, _ = then(Phase.SPEAKING, *noise, e.PlaybackDone(at=done_at, utterance=2, heard_ms=900))
    assert call.sound_at == done_at
    spoken = (e.CallerVoice(at=5.04, onset_at=5.0), words(5.3, final=True))
    call, _ = then(Phase.SPEAKING, *spoken)
    assert call.phase is Phase.INTERRUPTED, "it began with the speech, not before"


# --- tools that take longer -----------------------------------------------------------------------------------------


def goes_on(at: float, tool: str = "t1") -> e.ToolAnswered:
    return e.ToolAnswered(at=at, tool_call_id=tool, ok=True, took_ms=5, goes_on=True)


def test_tools_in_the_background() -> None:
    """Vapi was told that they take longer; they are known until they are over, and one does not stand for another."""
    call, _ = then(Phase.TOOL_PENDING, goes_on(5.4))
    assert (call.phase, call.tools, call.background) == (Phase.LISTENING, (), ("t1",))
    second = (e.ToolRequested(at=5.41, tool_call_id="t2", name="check", arguments={}), goes_on(5.42, "t2"))
    call, _ = then(Phase.TOOL_PENDING, goes_on(5.4), *second)
    assert call.background == ("t1", "t2")
    late = e.ToolLate(at=5.5, tool_call_id="t1", ok=True, took_ms=5, how="keep")
    call, _ = then(Phase.TOOL_PENDING, goes_on(5.4), *second, late)
    assert (call.background, call.active_at, call.prompted_at) == (("t2",), 5.5, 0.0)
    plain = e.ToolAnswered(at=5.4, tool_call_id="t1", ok=True, took_ms=5)
    assert then(Phase.TOOL_PENDING, plain)[0].background == ()


def test_the_answer_of_a_tool_that_took_longer() -> None:
    """Put to the model, it is owed like the answer to a question; said by the agent's voice, it is not."""
    for how, owed in (("tell", (9.0, "words", 9.0)), ("say", (None, "", 0.0))):
        late = e.ToolLate(at=9.0, tool_call_id="t1", ok=True, took_ms=5, how=how)
        paid = e.UtteranceStarted(at=5.5, utterance=2)
        call, _ = then(Phase.TOOL_PENDING, goes_on(5.4), paid, e.AgentSpeechStopped(at=5.6), late)
        assert (call.owed_since, call.owed_for, call.prompted_at) == owed, how
        assert call.background == () and call.active_at == 9.0


def test_a_caller_who_waits_for_a_slow_tool() -> None:
    """Every eight seconds they hear that we are still on it; nobody asks whether they are there."""
    heard = (e.UtteranceStarted(at=5.5, utterance=2), e.AgentSpeechStopped(at=5.6))
    done = e.PlaybackDone(at=6.0, utterance=2, heard_ms=500)
    call, _ = then(Phase.TOOL_PENDING, goes_on(5.4), *heard, done, e.ReportArrived(at=30.5, ended_reason="x"))
    assert call.said == {"progress": 3} and call.sound_at == near(6.0 + 3 * 8)
    silent = Policy(lines=("idle",))
    call, _ = then(
        Phase.TOOL_PENDING, goes_on(5.4), *heard, done, e.ReportArrived(at=16.5, ended_reason="x"), policy=silent
    )
    assert call.said == {"idle": 1}


# --- deadlines ------------------------------------------------------------------------------------------------------


def test_the_agents_last_words_never_end() -> None:
    """It has left, and its last mark never comes: twelve seconds, and the line is closed."""
    call, _ = then(Phase.SPEAKING, e.AgentEnded(at=5.3, reason="done"), e.ReportArrived(at=17.29, ended_reason="x"))
    assert call.phase is Phase.SPEAKING
    call, _ = then(Phase.SPEAKING, e.AgentEnded(at=5.3, reason="done"), e.ReportArrived(at=17.31, ended_reason="x"))
    assert (call.phase, call.entered_at, call.reason) == (Phase.ENDED, 5.3 + LAST_WORDS_S, "done")


def test_a_line_waits_for_the_sound_that_is_on_its_way() -> None:
    """Vapi says that it speaks: half a second later there is sound, or a filler after all."""
    asked = words(5.3, final=True)
    call, _ = then(Phase.LISTENING, asked, e.ReportArrived(at=5.81, ended_reason="x"))
    assert call.said == {"filler": 1} and call.sound_at == near(5.8)
    speaks = e.AgentSpeechStarted(at=5.6)
    call, _ = then(Phase.LISTENING, asked, speaks, e.ReportArrived(at=6.09, ended_reason="x"))
    assert call.said == {}
    call, _ = then(Phase.LISTENING, asked, speaks, e.ReportArrived(at=6.11, ended_reason="x"))
    assert call.sound_at == near(5.6 + SOUND_FOLLOWS_S)


def test_words_are_waited_for_after_a_long_noise() -> None:
    """They come at least so long after the voice, however long ago it began."""
    noise = (VOICE, e.CallerQuiet(at=6.6, voiced_ms=1300))
    call, asked = then(Phase.SPEAKING, *noise, e.ReportArrived(at=6.89, ended_reason="x"))
    assert len(asked) == 1 and call.held_at == NOW
    call, asked = then(Phase.SPEAKING, *noise, e.ReportArrived(at=6.91, ended_reason="x"))
    assert len(asked) == 2 and call.resumed_at == near(6.6 + WORDS_FOLLOW_S)


def test_a_tool_is_waited_for_with_lines() -> None:
    """They are said in its phase, and a noise meanwhile does not end anything."""
    call, _ = then(Phase.TOOL_PENDING, e.ReportArrived(at=9.0, ended_reason="x"))
    assert (call.phase, call.entered_at, call.said) == (Phase.TOOL_PENDING, 5.2, {"filler": 1, "progress": 2})
    call, _ = then(Phase.TOOL_PENDING, VOICE, e.ReportArrived(at=7.0, ended_reason="x"))
    assert (call.phase, call.entered_at, call.held_at) == (Phase.TOOL_PENDING, 5.2, None)
    call, _ = then(
        Phase.TOOL_PENDING, VOICE, e.CallerQuiet(at=5.5, voiced_ms=90), e.ReportArrived(at=5.9, ended_reason="x")
    )
    assert (call.phase, call.entered_at, call.held_at) == (Phase.TOOL_PENDING, 5.2, None)


def test_the_caller_hangs_up_while_the_call_is_handed_over() -> None:
    """Nothing is left to be handed over; the agent is let go once more, in case."""
    call, asked = then(Phase.LISTENING, e.AgentLost(at=5.3, why="x"), e.CallerHungUp(at=5.4, status="completed"))
    assert call.phase is Phase.ENDED and call.reason == "agent lost: x"
    assert [type(one).__name__ for one in asked[3:]] == ["CancelTools", "EndAgent", "HangUp"]


# --- what slips of the hand would change ----------------------------------------------------------------------------


def test_words_may_be_told_before_they_are_final_and_after() -> None:
    """A final transcript in a silence is the turn as well as a sign of life; over a voice it cuts in."""
    call, _ = then(Phase.LISTENING, words(5.6, "m", final=True))
    assert (call.turn, call.spoke, call.alive_at, call.active_at, call.words_at) == ("m", True, 5.6, 5.6, 5.6)
    assert (call.unheard, call.idle_said, call.cut_short, call.cut_at) == (0, 0, False, 0.0)
    held, _ = then(Phase.LISTENING, VOICE, words(5.6, "yes", final=True))
    assert held.cut_at == 5.6
    speech, _ = then(Phase.SPEAKING, words(5.6, "yes", final=True))
    assert (speech.phase, speech.cut_at, speech.turn) == (Phase.SPEAKING, 0.0, "yes"), "spoken before this speech"
    spoken, _ = then(Phase.SPEAKING, VOICE, words(5.6, "nine is better", final=True))
    assert (spoken.phase, spoken.turn, spoken.owed_for) == (Phase.INTERRUPTED, "nine is better", "words")
    assert (spoken.active_at, spoken.voice_at) == (5.6, 5.6)


def test_a_voice_after_a_murmur_is_a_new_one() -> None:
    """The murmur dismissed the voice before it, not this one; and whoever began anew may be stepped in on anew."""
    murmur = words(5.4, "uh-huh")
    call, _ = then(Phase.LISTENING, VOICE, murmur, e.CallerQuiet(at=5.5), e.CallerVoice(at=6.0, onset_at=5.96))
    assert call.dismissed == ""
    policy = Policy(turns=Turns(longest_caller_s=1.0))
    long = (VOICE, words(5.4), words(6.5), e.CallerQuiet(at=6.6, voiced_ms=900))
    call, _ = then(Phase.LISTENING, *long, policy=policy)
    assert (call.stepped_in, call.prompted_at, call.held_at) == (True, near(NOW - 0.04 + 1.0), None)
    soon, _ = then(Phase.LISTENING, *long, e.CallerVoice(at=6.8, onset_at=6.76), policy=policy)
    assert soon.stepped_in
    later, _ = then(Phase.LISTENING, *long, e.CallerVoice(at=7.2, onset_at=7.16), policy=policy)
    assert not later.stepped_in


def test_words_and_voice_at_the_same_moment() -> None:
    """The words are of this voice."""
    voice = e.CallerVoice(at=5.64, onset_at=5.6)
    call, _ = then(Phase.LISTENING, words(5.6, final=True), voice, e.CallerQuiet(at=6.4, voiced_ms=700))
    assert (call.owed_for, call.owed_since) == ("words", 5.6)
    call, _ = then(Phase.SPEAKING, words(5.6, "m", final=True), voice, e.AgentInterrupted(at=5.7))
    assert call.spoke and call.cut_at == 5.6
    early = e.CallerVoice(at=0.94, onset_at=0.9)
    call, _ = played(*UP, *GREETING[:2], early, words(1.1, final=True), e.AgentInterrupted(at=1.2))
    assert call.spoke and call.cut_at == 1.1
    call, _ = then(Phase.SPEAKING, e.AgentInterrupted(at=5.7))
    assert call.spoke is False and call.words_over


def test_vapis_word_in_an_interruption_changes_nothing_of_what_was_said() -> None:
    """There were words, or there were none, before it."""
    for spoken, fact in ((True, words(5.6, "wait")), (False, e.AgentInterrupted(at=5.6))):
        call, _ = then(Phase.SPEAKING, fact, e.AgentInterrupted(at=5.7))
        assert (call.phase, call.spoke, call.confirmed_at) == (Phase.INTERRUPTED, spoken, 5.7)


def test_a_line_of_ours_that_vapi_cuts() -> None:
    """Nobody waits for its end, in whatever phase it is said."""
    line = e.UtteranceStarted(at=5.3, utterance=3, ours=True)
    noise = (e.AgentInterrupted(at=5.6), e.ReportArrived(at=6.0, ended_reason="x"))
    call, _ = then(Phase.LISTENING, line, e.PlaybackDone(at=5.5, utterance=3, heard_ms=200), *noise)
    assert (call.ours, call.sound_at) == (False, 5.5)
    call, _ = played(e.StreamStarted(at=0.2, stream_sid="MZ1"), e.UtteranceStarted(at=1.8, utterance=1, ours=True))
    assert call.ours
    up, _ = played(
        e.StreamStarted(at=0.2, stream_sid="MZ1"), e.UtteranceStarted(at=1.8, utterance=1, ours=True),
        e.AgentConnected(at=1.9, agent_call_id="a"), e.AgentInterrupted(at=2.0),
    )  # fmt: skip
    assert (up.phase, up.ours, up.sound_at, up.held_at) == (Phase.LISTENING, False, 2.0, 2.0)


def test_after_a_false_alarm_the_question_is_not_owed() -> None:
    """A voice without words owed one; that it was an echo or a murmur pays it."""
    policy = Policy(turns=Turns(hold=False))
    owed = (VOICE, e.CallerQuiet(at=6.0, voiced_ms=600))
    call, _ = then(Phase.LISTENING, *owed, policy=policy)
    assert call.owed_for == "voice"
    speech = (e.CallerVoice(at=6.1, onset_at=6.06), e.UtteranceStarted(at=6.2, utterance=2, ours=True))
    held, _ = then(Phase.LISTENING, *owed, *speech)
    assert (held.phase, held.owed_for, held.held_at) == (Phase.SPEAKING, "voice", NOW)
    paid, _ = then(Phase.LISTENING, *owed, *speech, e.CallerQuiet(at=6.3, voiced_ms=90), e.AgentWords(at=6.55, text=""))
    assert (paid.held_at, paid.dismissed, paid.owed_since, paid.owed_for) == (None, "noise", None, "")


def test_a_noise_that_vapi_stopped_for_owes_the_rest() -> None:
    """Only if Vapi did stop, and nobody spoke."""
    vapi, noise = e.AgentInterrupted(at=5.6), (VOICE, e.CallerQuiet(at=5.5, voiced_ms=100))
    later = e.ReportArrived(at=6.0, ended_reason="x")
    assert then(Phase.SPEAKING, *noise, vapi, later)[0].cut_short is True
    assert then(Phase.SPEAKING, words(5.4, "wait"), vapi, later)[0].cut_short is False
    key = (e.DigitPressed(at=5.3, digit="5"), e.AgentSpeechStopped(at=5.4), e.ReportArrived(at=7.5, ended_reason="x"))
    call, _ = then(Phase.SPEAKING, *key)
    assert (call.phase, call.cut_short, call.owed_for) == (Phase.LISTENING, False, "words")
    spoke, _ = then(Phase.SPEAKING, *noise, vapi, later, words(6.2, final=True))
    assert spoke.cut_short is False
    went_on, _ = then(Phase.SPEAKING, *noise, vapi, later, e.UtteranceStarted(at=6.2, utterance=3))
    assert went_on.cut_short is False
    asked, _ = then(Phase.SPEAKING, *noise, vapi, e.ReportArrived(at=6.6, ended_reason="x"))
    assert (asked.cut_short, asked.lines_said, asked.prompted_at) == (False, 1, near(5.34 + GO_ON_S))


def test_a_speech_that_ends_in_an_interruption() -> None:
    """What was not heard of it is gone."""
    call, _ = then(Phase.SPEAKING, e.DigitPressed(at=5.3, digit="5"), e.AgentSpeechStopped(at=5.4))
    assert (call.dropped, call.agent_talking, call.words_over) == (True, False, True)
    fresh, _ = then(Phase.INTERRUPTED, e.AgentSpeechStarted(at=5.3), e.DigitPressed(at=5.35, digit="5"))
    assert fresh.fresh and fresh.alive_at == 5.3
    key, _ = then(
        Phase.INTERRUPTED, e.AgentSpeechStarted(at=5.3), e.UtteranceStarted(at=5.8, utterance=3),
        e.DigitPressed(at=6.0, digit="5"),
    )  # fmt: skip
    assert (key.phase, key.fresh) == (Phase.INTERRUPTED, False)
    said, _ = then(
        Phase.INTERRUPTED, e.AgentSpeechStarted(at=5.3), e.UtteranceStarted(at=5.8, utterance=3), words(6.0, "stop")
    )
    assert (said.phase, said.fresh) == (Phase.INTERRUPTED, False)


LEGAL = Policy(turns=Turns(uninterruptible=("this call is recorded",)))


def test_keys_over_a_protected_speech() -> None:
    """Kept, bounded, and a sign that somebody is there."""
    legal = (*UP, *GREETING, e.AgentWords(at=4.8, text="this call is recorded"), *TALKING)
    call, _ = played(*legal, e.DigitPressed(at=5.5, digit="7"), policy=LEGAL)
    assert (call.phase, call.keys.typed, call.active_at, call.idle_said) == (Phase.SPEAKING, "7", 5.5, 0)
    many = [e.DigitPressed(at=5.1 + n / 100, digit="8#"[n % 2]) for n in range(3 * MOST_KEPT_KEYS)]
    call, _ = played(*legal, *many, policy=LEGAL)
    assert len(call.keys.typed) == MOST_KEPT_KEYS


def test_a_number_is_a_turn_of_the_caller() -> None:
    """Answered like words, with prompts and questions counted anew."""
    prompted = (*UP, *GREETING, e.ReportArrived(at=13.1, ended_reason="x"))
    call, _ = played(*prompted, e.DigitPressed(at=14.0, digit="5"))
    assert (call.idle_said, call.active_at, call.spoke) == (0, 14.0, True)
    call, _ = played(*prompted, e.DigitPressed(at=14.0, digit="5"), e.DigitPressed(at=14.5, digit="#"))
    assert (call.owed_since, call.owed_for, call.words_at, call.active_at) == (14.5, "words", 14.5, 14.5)
    assert (call.prompted_at, call.said_at, call.idle_said, call.keys.typed) == (14.5, 14.5, 0, "")


def test_what_progress_prompts() -> None:
    """The agent may be told with it that the caller waits, and what it then asks for answers that."""
    call, _ = then(Phase.LISTENING, words(5.3, final=True), e.ReportArrived(at=7.4, ended_reason="x"))
    assert call.said == {"filler": 1, "progress": 1} and call.prompted_at == near(7.3)


def test_a_tool_that_is_late_is_a_sign_of_life() -> None:
    """The agent has its time from then on."""
    late = e.ToolLate(at=9.0, tool_call_id="t1", ok=True, took_ms=5, how="tell")
    paid = (e.UtteranceStarted(at=5.5, utterance=2), e.AgentSpeechStopped(at=5.6))
    call, _ = then(Phase.TOOL_PENDING, goes_on(5.4), *paid, late)
    assert call.alive_at == 9.0


def test_a_goodbye_dials_nobody() -> None:
    """Whatever number a hand-over had in mind."""
    call, _ = then(Phase.LISTENING, e.HangUpOrdered(at=5.3, reason="x"))
    assert (call.next_words, call.next_number) == (Policy().goodbye_words, None)


# --- deadlines that slips of the hand would change ------------------------------------------------------------------


def entered(at: float, phase: Phase, *facts: e.Event, policy: Policy = POLICY) -> Call:
    """The call at that moment."""
    return then(phase, *facts, e.ReportArrived(at=at, ended_reason="x"), policy=policy)[0]


def test_a_turn_while_the_voice_does_not_end() -> None:
    """Background may hide that the caller is quiet: the turn is over a second and a half after its last words."""
    policy = Policy(turns=Turns(longest_hold_ms=800))
    late = words(5.7, final=True)
    assert entered(6.49, Phase.LISTENING, VOICE, late, policy=policy).turn
    assert not entered(6.51, Phase.LISTENING, VOICE, late, policy=policy).turn
    early = words(5.0, final=True)
    facts = (*UP, *GREETING, early, e.CallerVoice(at=5.24, onset_at=5.2))
    assert played(*facts, e.ReportArrived(at=5.99, ended_reason="x"), policy=policy)[0].turn
    assert not played(*facts, e.ReportArrived(at=6.01, ended_reason="x"), policy=policy)[0].turn


def test_an_interruption_while_the_voice_does_not_end() -> None:
    """Neither does it hold the agent for ever."""
    policy = Policy(turns=Turns(longest_hold_ms=800))
    confirmed = (e.AgentInterrupted(at=5.3), e.CallerVoice(at=5.35, onset_at=5.3))
    assert entered(5.99, Phase.INTERRUPTED, *confirmed, policy=policy).phase is Phase.INTERRUPTED
    assert entered(6.01, Phase.INTERRUPTED, *confirmed, policy=policy).phase is Phase.LISTENING


def test_holding_sentences_do_not_pile_up() -> None:
    """The first after the caller's patience, each next after the last has been said, none over another."""
    there = e.StreamStarted(at=0.2, stream_sid="MZ1")
    policy = Policy(holding_after_s=1.0)
    say = e.UtteranceStarted(at=1.3, utterance=1, ours=True)
    call, _ = played(there, say, e.ReportArrived(at=5.0, ended_reason="x"), policy=policy)
    assert call.said == {"holding": 1}, "it is still being said"
    done = e.PlaybackDone(at=2.0, utterance=1, heard_ms=700)
    assert played(there, say, done, e.ReportArrived(at=3.49, ended_reason="x"), policy=policy)[0].said == {"holding": 1}
    assert played(there, say, done, e.ReportArrived(at=3.51, ended_reason="x"), policy=policy)[0].said == {"holding": 2}


def test_no_line_over_a_line() -> None:
    """While one of ours is heard, none is due, whatever is owed."""
    line = e.UtteranceStarted(at=5.9, utterance=3, ours=True)
    cut = (line, e.AgentInterrupted(at=6.0), e.UtteranceStarted(at=6.4, utterance=4, ours=True))
    call, _ = then(Phase.LISTENING, words(5.3, final=True), *cut[:1], e.ReportArrived(at=9.0, ended_reason="x"))
    assert (call.phase, call.said) == (Phase.SPEAKING, {"filler": 1})


def test_an_agent_that_opens_the_call() -> None:
    """Where there is a voice for it, the caller hears that the agent is on its way; where not, nothing."""
    call, _ = played(*UP, e.ReportArrived(at=2.2, ended_reason="x"))
    assert call.said == {"progress": 1}
    call, _ = played(*UP, e.ReportArrived(at=2.05, ended_reason="x"))
    assert call.said == {}
    call, _ = played(*UP, e.ReportArrived(at=5.0, ended_reason="x"), policy=Policy(lines=("filler",)))
    assert call.said == {}


def test_a_goodbye_that_is_never_heard() -> None:
    """Its end is not told: the call ends all the same, with its words from Twilio."""
    call, _ = played(*UP, *GREETING, e.ReportArrived(at=63.0 + LAST_WORDS_S - 0.1, ended_reason="x"))
    assert (call.phase, call.closing) == (Phase.LISTENING, True)
    call, _ = played(*UP, *GREETING, e.ReportArrived(at=63.0 + LAST_WORDS_S + 0.1, ended_reason="x"))
    assert (call.phase, call.entered_at) == (Phase.TRANSFERRING, 63.0 + LAST_WORDS_S)


def test_prompts_that_would_come_with_the_goodbye() -> None:
    """None is said when the call is about to end anyway."""
    policy = Policy(silence=Silence(idle_prompts_s=(5.0, 10.0)), idle_s=10.0)
    call, _ = played(*UP, *GREETING, e.ReportArrived(at=13.1, ended_reason="x"), policy=policy)
    assert call.said == {"idle": 1, "goodbye": 1}


def test_a_voice_that_is_just_long_enough() -> None:
    """It may be speech, and its words are waited for."""
    exactly = e.CallerQuiet(at=5.5, voiced_ms=160)
    assert entered(5.8, Phase.SPEAKING, VOICE, exactly).held_at == NOW
    assert entered(5.8, Phase.SPEAKING, VOICE, e.CallerQuiet(at=5.5, voiced_ms=159)).held_at is None


def test_the_agent_left_and_a_tool_still_works() -> None:
    """Nobody will use its answer: the call ends."""
    tool = e.ToolRequested(at=5.25, tool_call_id="t2", name="check", arguments={})
    gone = (tool, e.AgentEnded(at=5.3, reason="done"), e.AgentInterrupted(at=5.31))
    call = entered(6.5, Phase.INTERRUPTED, *gone)
    assert (call.phase, call.reason) == (Phase.ENDED, "done")


def test_final_words_are_the_turn_unless_they_are_an_echo() -> None:
    """Also a backchannel is one where nobody speaks; into a speech it is none."""
    words_of_ours = e.AgentWords(at=5.25, text="we have a table by the window")
    echo = words(5.6, "have a table by the window", final=True)
    call, _ = then(Phase.SPEAKING, words_of_ours, VOICE, echo)
    assert (call.phase, call.turn) == (Phase.SPEAKING, "")
    call, _ = then(Phase.LISTENING, words_of_ours, VOICE, echo)
    assert call.turn == "have a table by the window", "nothing is heard that could come back"
    old = e.CallerTranscript(at=5.6, text="a table for two", final=True, age_s=9.0)
    assert then(Phase.LISTENING, VOICE, old)[0].turn == ""
    assert then(Phase.LISTENING, VOICE, words(5.6, "yes", final=True))[0].turn == "yes"
    assert then(Phase.SPEAKING, VOICE, words(5.6, "yes", final=True))[0].turn == ""
    assert then(Phase.SPEAKING, VOICE, words(5.6, "m", final=True))[0].turn == "m"
