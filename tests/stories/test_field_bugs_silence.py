"""Field bugs 2.4: dead air and silence. What this is and what it leaves out: `test_field_bugs`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from actors.tools import Toolbox, make_tool
from actors.world.agent import Reply
from actors.world.caller import AfterAgent, AfterMe, At, Step
from actors.world.hearing import HearingPlan
from actors.world.house import FALLBACK
from tests.stories.scenes import (
    DEAD_AIR_MS,
    agent_plan,
    call,
    live,
    live_all,
    live_naive,
    policy,
    says,
    voice_input,
    words,
)

ASKS = Step(AfterAgent(700), words("a table for two please"))
NO_WORDS = HearingPlan(transcribes=False)


async def hangs(code: str) -> str:
    """Look up a booking."""
    await trio.sleep_forever()


TOOLS = Toolbox({"hangs": make_tool(hangs, effect="read", timeout_s=5)})


def test_the_socket_dies_silently_in_the_middle_of_a_sentence() -> None:
    """field-bugs 2.4 no. 28: 66 s of dead air, and unheard text in the memory. Here: words within 2 s."""
    text = says(14)
    vapi = agent_plan(first_message=text, script=[voice_input(text, 250)], hole_after_ms=2000)
    ours = live(vapi=vapi, stays_ms=60_000)
    assert ours.longest_dead_air_ms() <= DEAD_AIR_MS and ours.lived.words == FALLBACK.words
    assert ours.lived.ended_ms < 15_000 and ours.line_kinds()[:2] == ["filler", "progress"]
    (heard,) = ours.notes("AgentHeard")
    assert text.startswith(heard["text"]) and abs(len(heard["text"].split()) - ours.words_heard(0)) <= 1
    assert live_naive(vapi=vapi, stays_ms=60_000).longest_dead_air_ms() > 50_000


def test_the_recogniser_says_nothing_and_nobody_notices() -> None:
    """field-bugs 2.4 no. 29: no transcript ever comes. The caller is asked to say it again, twice, and then helped."""
    steps = (ASKS, *(Step(AfterMe(6000), words("hello a table please")) for _ in range(2)))
    vapi = agent_plan(first_words=6, hearing=NO_WORDS)
    ours = live(*steps, vapi=vapi, stays_ms=30_000)
    assert ours.line_kinds() == ["unheard", "unheard"] and ours.lived.words == FALLBACK.words
    assert ours.longest_dead_air_ms() <= DEAD_AIR_MS and ours.lived.missed == []
    assert live_naive(*steps, vapi=vapi, stays_ms=30_000).longest_dead_air_ms() > 20_000


def test_words_begin_and_never_end() -> None:
    """field-bugs 2.4 no. 29: the recogniser dies while the caller speaks; they are asked to say it again."""
    partial = {"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": "a table"}
    vapi = agent_plan(first_words=6, hearing=NO_WORDS, script=[(3700.0, partial)])
    ours = live(ASKS, vapi=vapi, stays_ms=6000)
    assert ours.line_kinds() == ["unheard"] and ours.longest_dead_air_ms() <= DEAD_AIR_MS


def test_a_minute_of_silence_kills_the_socket_and_the_call_with_it() -> None:
    """field-bugs 2.4 no. 30: silence is sent to Vapi all the while; if it drops all the same, words at once."""
    patient = policy(silence={"idle_prompts_s": [25.0, 50.0]}, limits={"idle_s": 100.0})
    asks = Step(At(66_000), words("a table for two please"), patience_s=70)
    ours = live(asks, agent=patient, vapi=agent_plan(first_words=4), stays_ms=6000)
    assert set(ours.lived.placed[0].got_frames) == {0, 1, 2, 3, 4} and ours.lived.unheard_frames == 0
    assert len(ours.lived.speeches) == 2 and ours.is_whole(1)
    cut = live(asks, agent=patient, vapi=agent_plan(first_words=4, drop_after_ms=60_000), stays_ms=6000)
    assert not cut.lived.hung_up and cut.lived.words == FALLBACK.words and cut.lived.ended_ms < 60_500


def test_the_hospital_line_goes_silent_after_the_caller_gives_a_number() -> None:
    """field-bugs 2.4 no. 31: a number is typed, and what it is looked up in hangs: fillers, a time-out, an answer."""
    vapi = agent_plan(
        first_words=6, replies=(Reply("I cannot find it at the moment", tool="hangs", arguments={"code": "4071"}),)
    )
    ours = live(Step(AfterAgent(500), press="4071#"), vapi=vapi, toolbox=TOOLS, stays_ms=20_000)
    assert ours.told("add-message") == ["The caller typed 4 0 7 1 on the keypad."]
    assert len(ours.lived.speeches) == 2 and ours.is_whole(1) and ours.interleaved() == []
    assert ours.line_kinds()[:3] == ["filler", "progress", "progress"] and not ours.notes("ToolResult")[0]["ok"]
    pressed_ms = ours.pieces(0)[-1].end_ms
    assert ours.longest_silence_ms(pressed_ms, ours.pieces(1)[0].at_ms) <= DEAD_AIR_MS
    gone = live(Step(AfterAgent(500), press="4071#"), vapi=replace(vapi, hole_after_ms=3000), stays_ms=60_000)
    assert gone.lived.words == FALLBACK.words
    assert gone.longest_silence_ms(pressed_ms, gone.lived.ended_ms) <= DEAD_AIR_MS


def test_there_is_no_silence_manager() -> None:
    """field-bugs 2.4 no. 32: a filler half a second after the words are known, then progress, then the answer."""
    slow = agent_plan(first_words=6, answer_ms=4000)
    ours = live(ASKS, vapi=slow, stays_ms=10_000)
    known_ms = ours.at_ms("CallerTranscript")[-1]
    (filler, filler_ms), (progress, _) = ours.lines()
    assert (filler, progress) == ("filler", "progress") and 500 <= filler_ms - known_ms <= 540
    assert ours.is_whole(1) and ours.interleaved() == [] and ours.longest_dead_air_ms() <= DEAD_AIR_MS
    assert live_naive(ASKS, vapi=slow, stays_ms=10_000).longest_dead_air_ms() > 4000


def test_there_is_no_idle_ladder() -> None:
    """field-bugs 2.4 no. 33: 3 s, 5 s, goodbye at 10 s, and the line is given up after its last word."""
    ladder = policy(silence={"idle_prompts_s": [3.0, 5.0]}, limits={"idle_s": 10.0})
    ours = live(agent=ladder, vapi=agent_plan(first_words=4), stays_ms=60_000)
    silent_ms = ours.pieces(0)[-1].end_ms
    assert [(kind, round((at - silent_ms) / 100)) for kind, at in ours.lines()] == [
        ("idle", 30), ("idle", 50), ("goodbye", 100),
    ]  # fmt: skip
    assert not ours.lived.hung_up and ours.lived.ended_ms - ours.lived.tap.runs[-1].end_ms < 100


@pytest.mark.parametrize("hole_after_ms", [None, 1000, 3500])
def test_the_prompt_is_in_the_transcript_and_nobody_hears_it(hole_after_ms: float | None) -> None:
    """field-bugs 2.4 no. 34: each line that the journal claims was heard on the phone, whole, in that order."""
    for seed in range(3):
        steps = (replace(ASKS, when=AfterAgent(500 + 300 * seed)),)
        vapi = agent_plan(first_words=6, answer_ms=3000, hole_after_ms=hole_after_ms)
        ours = live(*steps, vapi=vapi, stays_ms=40_000)
        assert ours.notes("Line") and [one["kind"] for one in ours.notes("Line")] == ours.line_kinds()


def test_both_sides_wait_for_each_other() -> None:
    """field-bugs 2.4 no. 35: the agent should begin and does not: the caller hears that it is on its way, then help."""
    ours = live(vapi=agent_plan(first_message=""), stays_ms=60_000)
    assert ours.line_kinds()[0] == "progress" and ours.longest_dead_air_ms() <= DEAD_AIR_MS
    assert ours.lived.words == FALLBACK.words
    assert live_naive(vapi=agent_plan(first_message=""), stays_ms=60_000).longest_dead_air_ms() > 50_000


def test_both_sides_wait_and_it_is_the_callers_turn() -> None:
    """field-bugs 2.4 no. 35: the assistant waits for the caller, who does not know: they are asked."""
    waits = policy(assistant={"firstMessageMode": "assistant-waits-for-user"})
    step = Step(AfterAgent(500), words("yes a table for two please"))
    ours = live(step, agent=waits, vapi=agent_plan(first_message=""), stays_ms=4000)
    assert ours.line_kinds()[0] == "idle" and ours.is_whole(0) and ours.lived.missed == []


def test_vapi_is_down_and_everybody_tries_again() -> None:
    """field-bugs 2.4 no. 36: 20 calls into an outage: one attempt each, words at once; the next call works."""
    refused = [call(vapi=agent_plan(create="refuse"), stays_ms=60_000, seed=seed) for seed in range(10)]
    hangs = [call(vapi=agent_plan(create="hang"), stays_ms=60_000, seed=seed) for seed in range(10)]
    later = call(Step(At(6000)), ASKS, vapi=agent_plan(first_words=4), stays_ms=4000)
    scenes = live_all([*refused, *hangs, later])
    *out, well = sorted(scenes, key=lambda one: one.lived.ended_ms)
    for ours in out:
        assert ours.dialled == 1 and ours.lived.words == FALLBACK.words and ours.lived.ended_ms < 5000
        assert ours.longest_dead_air_ms() <= DEAD_AIR_MS
    assert well.lived.hung_up and well.is_whole(0) and well.is_whole(1) and well.dialled == 1
