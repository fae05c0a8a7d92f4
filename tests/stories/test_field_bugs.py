"""What users of other voice stacks suffered, each as a scene that passes here (../shared/reference/field-bugs.md).

Part 2.1, barge-in: old audio keeps playing. 2.2 is in `test_field_bugs_false_alarms`, 2.4 in `test_field_bugs_silence`,
2.6 in `test_field_bugs_records`. Where the tutorials' bridge can show the suffering, the test lives the same scene with
it, so the scene is known to be one in which a stack with that bug fails; where it cannot, the docstring says which line
of ours was broken to see the test fail.

What cannot be expressed: of no. 6 the web demo, which we have not; of no. 9 Vapi's own part, which is its setting; of
no. 30 and 36 a recogniser's own socket, which is Vapi's affair: here it is Vapi that falls silent or is gone.
"""

from __future__ import annotations

import pytest

from actors.world.caller import AfterAgent, AfterMe, IntoSpeech, Step
from actors.world.carrier import LinePlan
from actors.world.hearing import HearingPlan
from actors.world.referee import Fate
from engine.audio import FRAME_MS
from tests.stories.judged import SILENT_MS
from tests.stories.scenes import StubbornHouse, agent_plan, call, live, live_all, live_naive, noise, policy, words

CUTS_IN = Step(IntoSpeech(1500), words("a table for two please"))
BY_VOICE = HearingPlan(num_words=0, transcribes=False)  # Vapi stops at a voice; nobody knows what was said


def test_the_caller_cannot_interrupt_on_the_phone() -> None:
    """field-bugs 2.1 no. 1: Twilio has seconds of the agent already; only its `clear` takes them back."""
    vapi = agent_plan(ahead_ms=5000)
    ours = live(CUTS_IN, vapi=vapi)
    assert ours.fates() == [Fate.ENDED] and ours.stale_ms() == 0 and ours.lived.clears
    assert live_naive(CUTS_IN, vapi=vapi, make_house=StubbornHouse).stale_ms() > 1000


def test_what_was_handed_over_plays_on_and_on() -> None:
    """field-bugs 2.1 no. 2: a long speech lies in the buffer already; none of it is ever heard again."""
    vapi = agent_plan(first_words=60, ahead_ms=60_000)
    ours = live(CUTS_IN, vapi=vapi, stays_ms=25_000)
    assert ours.stale_ms() == 0 and ours.words_heard(0) <= 5
    assert live_naive(CUTS_IN, vapi=vapi, make_house=StubbornHouse, stays_ms=25_000).stale_ms() > 15_000


@pytest.mark.parametrize("step", [Step(IntoSpeech(1500), press="1"), Step(IntoSpeech(1500), words("stop", 300))])
def test_no_way_to_clear_the_buffer_when_interruptions_are_off(step: Step) -> None:
    """field-bugs 2.1 no. 3: where only a keyword interrupts, a pressed key and a "stop" still empty the buffer.

    Seen to fail without the `Drop` of `engine.rules.key_in`, and with the keywords asked before the phrases.
    """
    off = policy(turns={"hold": False, "keywords": {"words": ["open sesame"]}})
    vapi = agent_plan(ahead_ms=60_000, hearing=HearingPlan(deaf=True))
    assert live(CUTS_IN, agent=off, vapi=vapi).fates() == [Fate.UNTOUCHED], "off is off"
    ours = live(step, agent=off, vapi=vapi)
    (cleared_ms,) = ours.lived.clears
    assert ours.pieces(0)[-1].end_ms <= cleared_ms + FRAME_MS and not ours.is_whole(0)


def test_the_agent_plays_on_because_it_has_finished_generating() -> None:
    """field-bugs 2.1 no. 4: Vapi says that the speech is over long before it was heard; it can be cut all the same."""
    vapi = agent_plan(ahead_ms=60_000)
    ours = live(CUTS_IN, vapi=vapi)
    assert ours.at_ms("AgentSpeechStopped")[0] < ours.lived.placed[0].onset_ms - 1000
    assert ours.fates() == [Fate.ENDED] and ours.stale_ms() == 0
    assert live_naive(CUTS_IN, vapi=vapi, make_house=StubbornHouse).stale_ms() > 2000


def test_seconds_of_stale_speech_after_vapi_has_stopped() -> None:
    """field-bugs 2.1 no. 5: Vapi is the first to notice and says so; what Twilio has goes in that very moment."""
    deaf_ear = policy(turns={"hold": False})
    vapi = agent_plan(ahead_ms=3000, hearing=BY_VOICE)
    ours = live(CUTS_IN, agent=deaf_ear, vapi=vapi)
    (told_ms,), (cleared_ms,) = ours.at_ms("AgentInterrupted"), ours.lived.clears
    assert cleared_ms - told_ms < 1 and ours.pieces(0)[-1].end_ms <= cleared_ms + FRAME_MS
    assert live_naive(CUTS_IN, vapi=vapi).stale_ms(within_ms=told_ms - ours.lived.placed[0].onset_ms) > 1000


def test_the_web_demo_can_be_interrupted_and_the_phone_demo_cannot() -> None:
    """field-bugs 2.1 no. 6: a mobile phone far away: silent within 200 ms and the way there and back."""
    line = LinePlan(up_ms=80, down_ms=80, up_jitter_ms=60, down_jitter_ms=60, loss_percent=3, start_delay_ms=60)
    there_and_back_ms = 80 + 80 + 60 + 60
    vapi = agent_plan(ahead_ms=1000, delay_ms=100, jitter_ms=200)
    for ours in live_all([call(CUTS_IN, vapi=vapi, line=line, seed=seed) for seed in range(8)]):
        assert ours.fates() == [Fate.ENDED] and ours.stale_ms(within_ms=SILENT_MS + there_and_back_ms) == 0
    assert live_naive(CUTS_IN, vapi=vapi, line=line).stale_ms(within_ms=SILENT_MS + there_and_back_ms) > 200


def test_the_agent_talks_for_seconds_after_the_caller_cut_in() -> None:
    """field-bugs 2.1 no. 7: the recogniser is a second late; the agent is silent before it knows a word."""
    vapi = agent_plan(hearing=HearingPlan(first_partial_ms=500, late_ms=600))
    long = Step(IntoSpeech(1500), words("could I have a table for two please", 1600))
    ours = live(long, vapi=vapi)
    assert ours.fates() == [Fate.ENDED] and ours.stale_ms() == 0
    assert live_naive(long, vapi=vapi).stale_ms() > 800


def test_a_long_speech_is_stopped_only_sometimes() -> None:
    """field-bugs 2.1 no. 8: cut at any moment, of a stream or of a long buffer, twice in a call: stopped every time."""
    plans = [
        call(
            Step(IntoSpeech(200 + 137 * seed), words("a table for two please")),
            Step(IntoSpeech(100 + 91 * seed), words("no wait")),
            vapi=agent_plan(first_words=20, answer_words=20, ahead_ms=(0, 400, 60_000)[seed % 3], jitter_ms=seed * 10),
            seed=seed,
        )
        for seed in range(18)
    ]
    for ours in live_all(plans):
        assert ours.fates() == [Fate.ENDED, Fate.ENDED] and ours.lived.missed == []
        assert ours.stale_ms(0, 0) == ours.stale_ms(1, 1) == 0


@pytest.mark.parametrize(
    ("turns", "fate"),
    [
        ({}, Fate.ENDED),
        ({"phrases": {"never_interrupt": ["bless you"]}}, Fate.RESUMED),
        ({"keywords": {"words": ["front desk"]}}, Fate.RESUMED),
        ({"partial_chars": 20}, Fate.RESUMED),
        ({"hold": False, "partial_chars": 20}, Fate.UNTOUCHED),
        ({"confidence": 0.99, "interrupt_on": "finals"}, Fate.RESUMED),
    ],
)
def test_the_flags_of_barge_in_have_no_effect(turns: dict[str, object], fate: Fate) -> None:
    """field-bugs 2.1 no. 8 (jambonz no. 215): each key of the policy changes what becomes of the same two words."""
    vapi = agent_plan(hearing=HearingPlan(deaf=True))
    step = Step(IntoSpeech(1500), words("bless you", 500))
    ours = live(step, agent=policy(turns=turns), vapi=vapi, stays_ms=6000)
    assert ours.fates() == [fate]


def test_the_uninterruptible_greeting_is_interrupted_on_the_phone() -> None:
    """field-bugs 2.1 no. 9: `firstMessageInterruptionsEnabled: false` holds on the line as it does at Vapi's."""
    vapi = agent_plan(hearing=HearingPlan(deaf=True))
    agent = policy(assistant={"firstMessageInterruptionsEnabled": False})
    shouts = (Step(IntoSpeech(700), words("stop", 400)), Step(IntoSpeech(900), words("hello hello")))
    ours = live(*shouts, agent=agent, vapi=vapi, stays_ms=8000)
    assert ours.is_whole(0) and len(ours.pieces(0)) == 1 and ours.lived.clears == []
    assert live_naive(*shouts, vapi=vapi, stays_ms=8000).is_whole(0) is False


@pytest.mark.parametrize("line", [LinePlan(), LinePlan(up_ms=75, down_ms=75)])
def test_nobody_can_prove_that_the_agent_fell_silent(line: LinePlan) -> None:
    """field-bugs 2.1 no. 10: every interruption has a certificate, and the phone's loudspeaker agrees within a frame.

    What a certificate says of the time after the onset is an upper bound by the way up, on which the proof comes back.
    Seen to fail without `clear`, and with what was heard reckoned from what was sent.
    """
    ours = live(
        Step(IntoSpeech(900), noise(300)),
        Step(IntoSpeech(900), words("a table for two please")),
        Step(IntoSpeech(700), press="5"),
        Step(IntoSpeech(900), words("uh-huh", 400)),
        Step(IntoSpeech(500), words("stop", 300)),
        Step(AfterMe(300), words("no wait", 500)),
        Step(AfterAgent(500)),
        vapi=agent_plan(answer_words=16, ahead_ms=1500),
        line=line,
    )
    certificates = ours.report.certificates
    assert ours.lived.missed == [] and ours.report.uncertified == 0
    assert [one.data["decision"] for one in certificates] == ["resumed", "dropped", "dropped", "resumed", "dropped"]
    assert all(one.data["silent_ms"] is not None and one.right_decision for one in certificates)
    assert max(max(one.silent_ms, one.heard_ms) for one in certificates) <= FRAME_MS
    assert max(one.still_heard_ms for one in certificates) <= FRAME_MS + line.up_ms
