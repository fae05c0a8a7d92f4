"""What the storm found, each once more and small."""

from __future__ import annotations

from engine import events as e
from engine.agent import Digits, Turns
from engine.call import MOST_KEPT_KEYS, Call, Policy
from engine.phases import Phase
from engine.step import opened, step
from engine.turns import deadline_of


def lived(*facts: e.Event, policy: Policy | None = None) -> Call:
    call, _ = opened("call", policy or Policy())
    for fact in facts:
        call, _ = step(call, fact)
    return call


UP = (e.StreamStarted(at=0.1, stream_sid="MZ"), e.AgentConnected(at=0.2, agent_call_id="a"))


def test_a_line_of_ours_that_vapi_has_us_drop_is_not_waited_for() -> None:
    """“One moment, please” is cut short as the agent comes; the caller must still hear that somebody works on it."""
    early = (UP[0], e.UtteranceStarted(at=1.6, utterance=1, ours=True), e.AgentConnected(at=1.8, agent_call_id="a"))
    call = lived(*early, e.CallerVoice(at=1.87, onset_at=1.84), e.AgentInterrupted(at=2.3))
    assert call.phase is Phase.LISTENING
    assert not call.ours


def test_a_speech_without_end_is_over_for_our_lines_too() -> None:
    """After a line that Twilio never told the end of, silence is noticed again."""
    call = lived(*UP, e.UtteranceStarted(at=1.0, utterance=1, ours=True))
    call, _ = step(call, e.DeadlinePassed(at=deadline_of(call)))
    assert call.phase is Phase.LISTENING
    assert not call.ours


def test_words_while_the_call_leaves_do_not_take_its_reason() -> None:
    """The record says why a call ended, whatever the caller says into the end."""
    call = lived(*UP, e.UtteranceStarted(at=1.0, utterance=1), e.EndOrdered(at=1.2, reason="the agent said goodbye"))
    call, _ = step(call, e.HandedOver(at=1.5, how="asked"))
    after, effects = step(call, e.CallerTranscript(at=1.6, text="stop", final=False))
    assert (after.phase, after.reason, effects) == (Phase.ENDED, "the agent said goodbye", ())


def test_a_goodbye_ends_the_call_although_a_tool_still_works() -> None:
    """The agent has hung up while it was interrupted: nobody waits twenty seconds for an answer that nobody uses."""
    call = lived(
        *UP,
        e.UtteranceStarted(at=1.0, utterance=1),
        e.ToolRequested(at=1.1, tool_call_id="t", name="look_up", arguments={}),
        e.CallerVoice(at=2.0, onset_at=1.96),
        e.CallerTranscript(at=2.3, text="stop", final=False),
        e.AgentEnded(at=2.4, reason="assistant-ended-call"),
        e.AgentInterrupted(at=2.45),
        e.CallerQuiet(at=2.6, voiced_ms=400.0),
    )
    for _ in range(6):
        if call.phase is not Phase.ENDED:
            call, _ = step(call, e.DeadlinePassed(at=deadline_of(call)))
    assert call.phase is Phase.ENDED
    assert call.entered_at < 4.0


def test_keys_over_a_protected_speech_are_bounded() -> None:
    """Leaning on the keypad during the legal text does not fill the memory."""
    policy = Policy(turns=Turns(uninterruptible=("terms",)), digits=Digits(most=4, end=""))
    call = lived(
        *UP, e.AgentWords(at=0.9, text="these are the terms"), e.UtteranceStarted(at=1.0, utterance=1), policy=policy
    )
    for number in range(300):
        call, _ = step(call, e.DigitPressed(at=1.1 + number / 100, digit="7"))
    assert 4 <= len(call.keys.typed) <= MOST_KEPT_KEYS
