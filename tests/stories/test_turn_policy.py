"""The policy of an agent file, heard on the phone: what counts as words, when a turn is over, keys, long talkers."""

from __future__ import annotations

from typing import Any

import pytest

from actors.world.caller import AfterAgent, AfterMe, At, IntoSpeech, Step
from actors.world.hearing import HearingPlan
from actors.world.referee import Fate
from actors.world.sounds import Sound
from engine.audio import FRAME_MS, silence
from tests.stories.judged import SILENT_MS
from tests.stories.scenes import (
    DEAD_AIR_MS,
    NOON,
    agent_plan,
    call,
    live,
    live_all,
    live_naive,
    murmur,
    noise,
    policy,
    says,
    voice_input,
    words,
)

DEAF = HearingPlan(deaf=True)  # Vapi leaves it to us
HOURS_S = 3600


def transcript(text: str, at_ms: float, *, final: bool = False, **more: Any) -> tuple[float, dict[str, Any]]:
    """For `AgentPlan.script`: the recogniser says this, whatever was said."""
    kind = "final" if final else "partial"
    return at_ms, {"type": "transcript", "role": "user", "transcriptType": kind, "transcript": text, **more}


@pytest.mark.parametrize("into", [IntoSpeech(1500), AfterAgent(600)])
def test_wednesday_no_thursday_actually_friday(into: IntoSpeech | AfterAgent) -> None:
    """Corrections with pauses shorter than the debounce are one turn, over the agent or after it, and one answer."""
    ours = live(
        Step(into, words("wednesday", 600)),
        Step(AfterMe(240), words("no thursday", 600)),
        Step(AfterMe(240), words("actually friday", 600)),
        vapi=agent_plan(first_words=8, hearing=HearingPlan(endpoint_ms=100)),
        stays_ms=5000,
    )
    finals = [one["text"] for one in ours.notes("CallerTranscript") if one["final"]]
    assert finals == ["wednesday", "no thursday", "actually friday"], "the recogniser ends at every pause"
    assert [one["text"] for one in ours.notes("TakeTurn")] == ["wednesday no thursday actually friday"]
    assert len(ours.lived.speeches) == 2 and ours.is_whole(1) and ours.report.overlaps == ()


def test_a_turn_is_over_after_a_pause() -> None:
    """Longer pauses make two turns of it."""
    ours = live(
        Step(AfterAgent(600), words("wednesday", 600)),
        Step(AfterAgent(900), words("no thursday", 600)),
        vapi=agent_plan(first_words=4),
        stays_ms=5000,
    )
    assert [one["text"] for one in ours.notes("TakeTurn")] == ["wednesday", "no thursday"]


@pytest.mark.parametrize(
    ("hour", "said", "fate"),
    [
        (23, "a table for two", Fate.RESUMED),
        (23, "hey bistro a table", Fate.ENDED),
        (23, "stop", Fate.ENDED),
        (3, "a table for two", Fate.RESUMED),
        (12, "a table for two", Fate.ENDED),
    ],
)
def test_only_after_nine(hour: int, said: str, fate: Fate) -> None:
    """At night only speech with a keyword interrupts, and always-phrases as ever; by day everything does."""
    keywords = {"words": ["hey bistro"], "hours": "21:00-07:00", "timezone": "UTC"}
    ours = live(
        Step(IntoSpeech(1500), words(said)),
        agent=policy(turns={"keywords": keywords}),
        vapi=agent_plan(hearing=DEAF),
        wall_clock_s=NOON + (hour - 12) * HOURS_S,
        stays_ms=6000,
    )
    assert ours.fates() == [fate]


def test_a_transcript_of_long_ago() -> None:
    """What is spoken before a speech and becomes final in it does not end it: the agent is answering it already."""
    ours = live(
        Step(AfterAgent(600), words("a table for two please")),
        vapi=agent_plan(first_words=4, answer_words=10, script=[transcript("for two please", 4600, final=True)]),
        stays_ms=7000,
    )
    assert ours.speech(1).began_at - ours.lived.began_at < 4.6 and ours.is_whole(1) and ours.lived.clears == []


@pytest.mark.parametrize(
    ("said", "final", "more", "ends"),
    [
        ("bless you", True, {"confidence": 0.4}, False),
        ("bless you", True, {"confidence": 0.9}, True),
        ("stop", True, {"confidence": 0.4}, True),
        ("no", False, {}, True),
        ("ei", False, {}, False),
        ("eight", False, {}, True),
        ("", True, {}, False),
    ],
)
def test_what_the_recogniser_is_not_sure_of(said: str, final: bool, more: dict[str, Any], ends: bool) -> None:
    """Under 0.7 and under three characters nothing is ended; a "stop" and a "no" are obeyed however unsure."""
    hearing = HearingPlan(deaf=True, transcribes=False)
    vapi = agent_plan(hearing=hearing, script=[transcript(said, 2300, final=final, **more)])
    ours = live(Step(At(1900), noise(500)), vapi=vapi, stays_ms=8000)
    assert ours.is_whole(0) is not ends


def test_a_number_typed_over_the_agent() -> None:
    """The first key silences it; the agent is told once, all digits together, and only then heard again."""
    steps = [Step(IntoSpeech(1500), press="4"), *(Step(AfterMe(600), press=digit) for digit in "071")]
    ours = live(*steps, vapi=agent_plan(ahead_ms=3000), stays_ms=6000)
    assert ours.told("add-message")[-1] == "The caller typed 4 0 7 1 on the keypad."
    assert sum("typed" in message for message in ours.told("add-message")) == 1
    assert ours.decisions() == [("dropped", "key")] and len(ours.pieces(0)) == 1
    assert ours.pieces(0)[-1].end_ms <= ours.lived.clears[0] + FRAME_MS
    (told_ms,) = ours.at_ms("TellAgent")
    assert ours.pieces(1)[0].at_ms > told_ms > ours.at_ms("DigitPressed")[-1] + 1900


def test_keys_over_legal_text_wait_for_its_end() -> None:
    """A speech that may not be interrupted is heard to its end; the number is told after it."""
    legal = "this call may be recorded and " + says(8)
    vapi = agent_plan(first_message=legal, script=[voice_input(legal, 250)], hearing=DEAF)
    steps = [Step(IntoSpeech(700), press="4"), Step(AfterMe(300), press="2#")]
    ours = live(*steps, agent=policy(turns={"uninterruptible": ["may be recorded"]}), vapi=vapi, stays_ms=7000)
    assert ours.is_whole(0) and len(ours.pieces(0)) == 1
    assert ours.told("add-message") == ["The caller typed 4 2 on the keypad."]
    assert ours.at_ms("TellAgent")[0] >= ours.pieces(0)[-1].end_ms


def test_a_caller_who_talks_and_talks() -> None:
    """After the longest time without a pause Vapi is told to step in, once."""
    breath = words("", 520).mulaw + silence(80)
    sermon = Sound("sermon", breath * 15, 0.0, "speech", text=" ".join(["and then"] * 18))
    limited = policy(turns={"longest_caller_s": 5.0})
    ours = live(Step(AfterAgent(600), sermon), agent=limited, vapi=agent_plan(first_words=4), stays_ms=5000)
    (stepped_ms,) = ours.at_ms("TellAgent")
    assert "talking for long" in ours.told("add-message")[0]
    assert stepped_ms - ours.lived.placed[0].onset_ms == pytest.approx(5000, abs=100)
    unlimited = live(
        Step(AfterAgent(600), sermon), agent=policy(turns={"longest_caller_s": 0}), vapi=agent_plan(first_words=4)
    )
    assert unlimited.told("add-message") == []


@pytest.mark.parametrize("pause_ms", [80, 350, 900])
@pytest.mark.parametrize("first", [noise(120), murmur("uh-huh", 260), words("wait", 300), noise(700)])
def test_two_interruptions_on_each_others_heels(first: Sound, pause_ms: float) -> None:
    """A noise or a word, and words on its heels: the words end the speech, and nothing of it is heard afterwards."""
    steps = (Step(IntoSpeech(1500), first), Step(AfterMe(pause_ms), words("a table for two please")))
    ours = live(*steps, vapi=agent_plan(ahead_ms=2000), stays_ms=6000)
    assert ours.stale_ms(0, 1) == 0 and not ours.is_whole(0)
    assert ours.report.overlaps == () and ours.report.uncertified == 0
    assert ours.is_whole(len(ours.lived.speeches) - 1) and ours.longest_dead_air_ms() <= DEAD_AIR_MS


@pytest.mark.parametrize("into_ms", [20, 60, 140])
def test_speech_over_the_agents_first_word(into_ms: float) -> None:
    """The caller begins as the agent does: one of them is silent within 200 ms, no word of the caller's is lost."""
    plans = [
        call(Step(IntoSpeech(into_ms), words("a table for two please")), vapi=agent_plan(ahead_ms=500), seed=seed)
        for seed in range(4)
    ]
    for ours in live_all(plans):
        assert ours.fates() == [Fate.ENDED] and ours.stale_ms(within_ms=SILENT_MS) == 0
        assert ours.report.rulings[0].words_lost == 0


def test_the_agent_does_not_begin_over_the_caller() -> None:
    """Vapi answers a pause within a sentence; it is heard when the caller has finished, if it still wants to be."""
    hasty = HearingPlan(endpoint_ms=200, num_words=99)
    steps = (
        Step(AfterAgent(600), words("could I have a table", 900)),
        Step(AfterMe(600), words("for two please on thursday", 1200)),
    )
    vapi = agent_plan(first_words=4, answer_words=10, answer_ms=150, hearing=hasty)
    ours = live(*steps, vapi=vapi, stays_ms=6000)
    assert ours.report.overlaps == () and ours.lived.missed == []
    assert live_naive(*steps, vapi=vapi, stays_ms=6000).report.overlaps
