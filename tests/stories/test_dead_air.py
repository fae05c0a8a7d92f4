"""Never more than two seconds of nothing while the agent owes something: every upstream black-holed in turn.

From the moment at which the line is up until the call is over. Silence is what `judged.Scene.dead_air` says: neither
voice is heard, and it is not the caller's turn. Each scene also looks for a line of ours in the middle of a speech, and
for a call that ends without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from actors.tools import Toolbox, make_tool
from actors.world.agent import Reply
from actors.world.caller import AfterAgent, AfterMe, At, IntoSpeech, Step
from actors.world.carrier import LinePlan
from actors.world.hearing import HearingPlan
from actors.world.house import FALLBACK
from tests.stories.judged import Scene
from tests.stories.scenes import DEAD_AIR_MS, agent_plan, call, live, live_all, live_naive, noise, policy, says, words

ASKS = Step(AfterAgent(700), words("a table for two please"))
ASKS_AGAIN = Step(AfterMe(5000), words("hello a table please"))
FAR_AWAY = LinePlan(up_ms=80, down_ms=80, up_jitter_ms=120, down_jitter_ms=60, start_delay_ms=60, loss_percent=2)


async def hangs() -> str:
    """Look something up."""
    await trio.sleep_forever()


async def takes_six_seconds() -> str:
    """Look something up."""
    await trio.sleep(6)
    return "found"


TOOLS = Toolbox({
    "hangs": make_tool(hangs, effect="read"),
    "takes_six_seconds": make_tool(takes_six_seconds, effect="read", timeout_s=12),
})  # fmt: skip


@dataclass(frozen=True)
class Hole:
    """What is gone, and when; what the caller does; whether the call goes on."""

    vapi: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    goes_on: bool = False  # else the caller is given to Twilio with the fallback's words


SHORT: dict[str, Any] = {"first_words": 6, "answer_words": 12}
HOLES = {
    "REST hangs": Hole({"create": "hang"}),
    "REST refuses": Hole({"create": "refuse"}),
    "REST takes three seconds": Hole({"create_ms": 3000}, goes_on=True),
    "the socket never opens": Hole({"socket": "never opens"}),
    "the socket is refused": Hole({"socket": "refuse"}),
    "the socket opens and is silent": Hole({"hole_after_ms": 0}),
    "nothing comes in the middle of the first word": Hole({"hole_after_ms": 450}),
    "nothing comes in the middle of a speech": Hole({"hole_after_ms": 2000}),
    "nothing comes in the middle of an answer": Hole(SHORT | {"hole_after_ms": 6000}, (ASKS,)),
    "nothing comes after the greeting": Hole(SHORT | {"hole_after_ms": 2600}, (ASKS, ASKS_AGAIN, ASKS_AGAIN)),
    "nothing comes after the words": Hole(SHORT | {"hole_after_ms": 5000, "answer_ms": 2000}, (ASKS,)),
    "nothing comes after a barge-in": Hole({"hole_after_ms": 2600}, (Step(IntoSpeech(1500), words("no wait")),)),
    "nothing comes after a cough": Hole({"hole_after_ms": 2100}, (Step(IntoSpeech(1500), noise(200)),)),
    "the socket drops in the middle of a speech": Hole({"drop_after_ms": 2000}),
    "the socket drops between turns": Hole(SHORT | {"drop_after_ms": 4000}),
    "the socket drops before the answer": Hole(SHORT | {"drop_after_ms": 4300, "answer_ms": 2000}, (ASKS,)),
    "words and no sound, from the start": Hole({"mute_after_ms": 0}),
    "words and no sound, from mid-speech on": Hole({"mute_after_ms": 2000}),
    "words and no sound, from the answer on": Hole(SHORT | {"mute_after_ms": 3500}, (ASKS,)),
    "transcripts never come": Hole(
        SHORT | {"hearing": HearingPlan(transcribes=False)}, (ASKS, ASKS_AGAIN, ASKS_AGAIN)
    ),
    "transcripts come three seconds late": Hole(SHORT | {"hearing": HearingPlan(late_ms=3000)}, (ASKS,), goes_on=True),
    "a tool hangs for ever": Hole(SHORT | {"replies": (Reply(says(6), tool="hangs"),)}, (ASKS,), goes_on=True),
    "a tool is slow": Hole(SHORT | {"replies": (Reply(says(6), tool="takes_six_seconds"),)}, (ASKS,), goes_on=True),
    "an answer takes six seconds": Hole(SHORT | {"answer_ms": 6000}, (ASKS,), goes_on=True),
    "the caller speaks over a filler": Hole(
        SHORT | {"answer_ms": 3000}, (ASKS, Step(IntoSpeech(100), words("hello"))), goes_on=True
    ),
    "the agent never begins": Hole({"first_message": ""}),
    "Vapi forgets its answer for a cough": Hole(
        SHORT | {"hearing": HearingPlan(hears_noise=True)}, (ASKS, Step(AfterMe(800), noise(200))), goes_on=True
    ),
    "Vapi stops for a cough": Hole(
        {"hearing": HearingPlan(num_words=0, hears_noise=True)}, (Step(IntoSpeech(1500), noise(300)),), goes_on=True
    ),
    "Vapi stops for words that nobody understands": Hole(
        {"hearing": HearingPlan(num_words=0, transcribes=False)}, (Step(IntoSpeech(1500), words("hello")),),
        goes_on=True,
    ),
    "Vapi does not notice a stop": Hole(
        {"hearing": HearingPlan(deaf=True)}, (Step(IntoSpeech(1500), words("stop", 400)),), goes_on=True
    ),
}  # fmt: skip


def lived_through(hole: Hole, line: LinePlan | None = None) -> Scene:
    plan = agent_plan(**hole.vapi)
    return live(*hole.steps, vapi=plan, line=line, toolbox=TOOLS, stays_ms=17_000 if hole.goes_on else 60_000)


@pytest.mark.parametrize("line", [None, FAR_AWAY], ids=["clean", "far away"])
@pytest.mark.parametrize("name", HOLES)
def test_no_dead_air(name: str, line: LinePlan | None) -> None:
    """Two seconds at most, no line of ours in the middle of a speech, and words at the end or an answer."""
    hole = HOLES[name]
    ours = lived_through(hole, line)
    assert ours.longest_dead_air_ms() <= DEAD_AIR_MS, ours.dead_air()
    assert ours.interleaved() == [] and ours.lived.missed == [] and dict(ours.lived.problems) == {}
    assert ours.report.overlaps == ()
    if hole.goes_on:
        assert ours.lived.hung_up and ours.lived.speeches, "the caller stayed for as long as they wished"
        assert ours.is_whole(len(ours.lived.speeches) - 1)
    else:
        assert not ours.lived.hung_up and ours.lived.words == FALLBACK.words and ours.lived.ended_ms < 30_000
        assert ours.notes("Closed")[0]["reason"].startswith("agent ")


LIVELY = (
    Step(IntoSpeech(900), noise(200)),
    Step(IntoSpeech(600), words("a table for two please")),
    Step(AfterAgent(700), words("and for the evening")),
    Step(AfterMe(900), noise(150)),
    Step(IntoSpeech(800), words("stop", 400)),
    Step(AfterAgent(900), words("hello are you there")),
    *(Step(AfterMe(5000), words("hello again")) for _ in range(3)),
)


@pytest.mark.parametrize("line", [None, FAR_AWAY], ids=["clean", "far away"])
@pytest.mark.parametrize("way", ["hole_after_ms", "mute_after_ms", "drop_after_ms"])
def test_no_dead_air_whenever_vapi_goes(way: str, line: LinePlan | None) -> None:
    """In a hold, in a line of ours, in the caller's words, as a last word is heard: seven moments each."""
    moments_ms = (330.0, 990.0, 1650.0, 2640.0, 5610.0, 6930.0, 10_230.0)
    agents: list[dict[str, Any]] = [{way: ms} for ms in moments_ms]
    plans = [
        call(*LIVELY, vapi=agent_plan(answer_words=8, **plan), line=line, stays_ms=40_000, seed=int(ms))
        for ms, plan in zip(moments_ms, agents, strict=True)
    ]
    for ours in live_all(plans):
        assert ours.longest_dead_air_ms() <= DEAD_AIR_MS, ours.dead_air()
        assert ours.interleaved() == [] and ours.ends_in_words()


def test_the_holes_are_holes() -> None:
    """The tutorials' bridge leaves the caller alone in nearly all of them: the scenes can fail."""
    silent = [
        name
        for name, hole in HOLES.items()
        if live_naive(*hole.steps, vapi=agent_plan(**hole.vapi), stays_ms=8000).longest_dead_air_ms() > DEAD_AIR_MS
    ]
    assert len(silent) >= 0.6 * len(HOLES), silent


def test_the_line_is_cut_while_vapi_speaks() -> None:
    """No more frames and no close: the service gives the call to Twilio, which has words if anybody is there."""
    ours = live(line=LinePlan(vanishes_at_ms=2000), vapi=agent_plan(first_words=30), stays_ms=60_000)
    assert not ours.lived.hung_up and ours.lived.words == FALLBACK.words and ours.lived.ended_ms < 6000


# --- the caller is silent --------------------------------------------------------------------------------------------

LADDER = policy(silence={"idle_prompts_s": [4.0, 8.0]}, limits={"idle_s": 12.0})
GREETED_MS = 332 + 4 * 360


def test_an_idle_caller_is_asked_and_told_goodbye() -> None:
    """Prompt, prompt, goodbye, at the policy's times after the last word; the line is given up after our last one."""
    for ours in live_all([call(vapi=agent_plan(4), stays_ms=90_000, seed=seed) for seed in range(3)], agent=LADDER):
        silent_ms = ours.pieces(0)[-1].end_ms
        kinds, delays = zip(*[(kind, at - silent_ms) for kind, at in ours.lines()], strict=True)
        assert kinds == ("idle", "idle", "goodbye")
        assert [round(delay_ms, -2) for delay_ms in delays] == [4000, 8000, 12_000]
        assert ours.ends_in_words() and not ours.lived.hung_up
        assert 0 <= ours.lived.ended_ms - ours.lived.tap.runs[-1].end_ms < 100


def test_who_answers_a_prompt_begins_anew() -> None:
    """After words the ladder has its first rung again."""
    ours = live(Step(At(8000), words("I am here")), agent=LADDER, vapi=agent_plan(4, 4), stays_ms=8000)
    assert ours.line_kinds() == ["idle", "idle"] and ours.is_whole(1)
    (_, first), (_, second) = ours.lines()
    assert second - ours.pieces(1)[-1].end_ms == pytest.approx(4000, abs=100) and first < 8000


@pytest.mark.parametrize("interruptible", [True, False])
def test_a_word_during_our_goodbye_cancels_the_hang_up(interruptible: bool) -> None:
    """And the agent answers; unless the policy has the last word."""
    agent = policy(
        silence={"idle_prompts_s": [4.0]}, limits={"idle_s": 8.0}, turns={"interruptible_goodbye": interruptible}
    )
    vapi = agent_plan(4, 4, answer_ms=2000)
    ours = live(Step(At(GREETED_MS + 8300), words("wait I am here")), agent=agent, vapi=vapi, stays_ms=7000)
    if interruptible:
        assert ours.line_kinds()[:2] == ["idle", "filler"], "the goodbye is cut off, and a filler is no last word"
        assert ours.lived.hung_up and ours.is_whole(1) and ours.notes("Closed")[0]["reason"] != "nobody spoke"
        assert ours.longest_dead_air_ms() <= DEAD_AIR_MS
    else:
        assert not ours.lived.hung_up and ours.line_kinds() == ["idle", "goodbye"] and len(ours.lived.speeches) == 1


def test_a_cough_during_our_goodbye_does_not() -> None:
    """It is said to its end, and the call is over."""
    agent = policy(silence={"idle_prompts_s": [4.0]}, limits={"idle_s": 8.0})
    ours = live(Step(At(GREETED_MS + 8300), noise(200)), agent=agent, vapi=agent_plan(4, 4), stays_ms=8000)
    assert not ours.lived.hung_up and len(ours.lived.speeches) == 1
