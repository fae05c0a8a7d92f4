"""Whole calls in virtual time: the real actors between an exact carrier, a scripted caller and a scripted agent."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.ports import Plane, VapiCalls
from actors.tools import Toolbox, make_tool
from actors.world.agent import AgentPlan, Reply
from actors.world.caller import AfterAgent, At, CallerPlan, IntoSpeech, Step
from actors.world.carrier import LinePlan
from actors.world.hearing import HearingPlan
from actors.world.house import FALLBACK, CallscopeHouse
from actors.world.sounds import WORD_MS, Sound
from actors.world.world import CallPlan, Lived, open_world, run_calls
from engine.wire import vapi
from tests.bench.peers.turns_naive import NaiveCall, NaiveHouse

WORDS = Sound("words", b"\x20\xa0" * 3200, 0.0, text="a table for two please")  # 800 ms
COUGH = Sound("cough", b"\x20\xa0" * 600, 0.0, "cough")
ASKS = CallerPlan(steps=[Step(AfterAgent(600), WORDS), Step(AfterAgent(600), hang_up=True)])
SHORT = AgentPlan(first_message="Good evening.", replies=(Reply("Yes we have one."),))


async def live(plan: CallPlan) -> Lived:
    async with open_world(CallscopeHouse, seed=1) as world:
        lived = await world.live(plan)
    assert lived is not None
    return lived


async def test_question_and_answer(autojump_clock: MockClock) -> None:
    """The greeting is heard, the question arrives, the answer is heard, and the caller hangs up."""
    lived = await live(CallPlan(caller=ASKS, agent=SHORT))
    assert [speech.text for speech in lived.speeches] == ["Good evening.", "Yes we have one."]
    agent = [run for run in lived.tap.runs if run.is_agent]
    assert sum(run.ms for run in agent) == sum(speech.sent_ms for speech in lived.speeches) == 6 * 360
    (words,) = lived.placed
    assert set(words.got_frames) == {0, 1, 2, 3, 4}
    assert lived.hung_up and lived.missed == [] and dict(lived.problems) == {}
    assert lived.unheard_frames == 0
    assert [record.name for record in lived.records][-1] == "Closed"


def trace(seed: int) -> str:
    """Everything that was heard and written, as one number."""
    digest = hashlib.sha256()
    plans = [
        CallPlan(
            caller=CallerPlan(steps=[Step(IntoSpeech(300), COUGH), Step(IntoSpeech(500), WORDS), Step(AfterAgent())]),
            line=LinePlan(up_jitter_ms=30, down_jitter_ms=30, loss_percent=2),
            agent=AgentPlan(jitter_ms=100),
            seed=number,
        )
        for number in range(4)
    ]

    def lived(one: Lived) -> None:
        digest.update(bytes(one.tap.heard) + bytes(one.tap.said))
        for record in one.records:
            digest.update(msgspec.json.encode([record.at_ms, record.kind, record.name, record.data]))

    run_calls(CallscopeHouse, plans, seed=seed, at_once=4, lived=lived)
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_calls() -> None:
    assert trace(3) == trace(3) != trace(4)


def test_real_time_by_choice() -> None:
    """A call of one second takes one second."""
    found: list[Lived] = []
    plan = CallPlan(caller=CallerPlan(steps=[Step(At(600), hang_up=True)]), agent=SHORT)
    run_calls(CallscopeHouse, [plan], real_time=True, lived=found.append)
    assert found[0].hung_up and found[0].ended_ms >= 600


HOLES = {
    "create hangs": AgentPlan(create="hang"),
    "create refused": AgentPlan(create="refuse"),
    "socket never opens": AgentPlan(socket="never opens"),
    "socket refused": AgentPlan(socket="refuse"),
    "socket cut": AgentPlan(drop_after_ms=1500),
}


@pytest.mark.parametrize("hole", HOLES)
async def test_without_an_agent_there_are_words(autojump_clock: MockClock, hole: str) -> None:
    """Each way in which Vapi is not there: the caller is given back to Twilio with the fallback's words."""
    lived = await live(CallPlan(caller=CallerPlan(stays_ms=60_000), agent=HOLES[hole]))
    assert not lived.hung_up and lived.words == FALLBACK.words
    assert lived.ended_ms < 20_000


async def test_a_mute_agent_believes_that_it_speaks(autojump_clock: MockClock) -> None:
    plan = AgentPlan(first_message="One two three four five six.", mute_after_ms=1000)
    lived = await live(CallPlan(caller=CallerPlan(stays_ms=4000), agent=plan))
    (speech,) = lived.speeches
    heard_ms = sum(run.ms for run in lived.tap.runs if run.is_agent)
    assert speech.sent_ms == 6 * 360 and 0 < heard_ms <= speech.after - speech.first < speech.sent_ms


async def test_a_cable_is_cut(autojump_clock: MockClock) -> None:
    """No more frames and no close: the service notices by itself."""
    lived = await live(CallPlan(caller=CallerPlan(stays_ms=60_000), line=LinePlan(vanishes_at_ms=2000)))
    assert not lived.hung_up and 4000 <= lived.ended_ms < 6000


async def test_a_tool_is_asked_for_before_the_answer(autojump_clock: MockClock) -> None:
    asked: list[int] = []

    async def count_tables(party: int) -> str:
        """Count free tables."""
        asked.append(party)
        await trio.sleep(1.0)
        return "three"

    def house(plane: Plane, vapi_calls: VapiCalls) -> CallscopeHouse:
        tools = Toolbox({"count_tables": make_tool(count_tables, effect="read")})
        return CallscopeHouse(plane, vapi_calls, toolbox=tools)

    agent = replace(SHORT, replies=(Reply("There are three.", tool="count_tables", arguments={"party": 2}),))
    async with open_world(house) as world:
        lived = await world.live(CallPlan(caller=ASKS, agent=agent))
    assert lived is not None and asked == [2]
    answer = lived.speeches[-1]
    assert answer.text == "There are three."
    assert (answer.began_at - lived.began_at) * 1000 > lived.placed[0].end_ms + 1000


@pytest.mark.parametrize(
    ("hearing", "sound", "interrupted"),
    [
        (HearingPlan(), WORDS, True),
        (HearingPlan(), COUGH, False),
        (HearingPlan(deaf=True), WORDS, False),
        (HearingPlan(num_words=0), WORDS, True),
        (HearingPlan(num_words=0, hears_noise=True, voice_ms=100), COUGH, True),
        (HearingPlan(), Sound("uh-huh", WORDS.mulaw, text="uh-huh"), False),
        (HearingPlan(num_words=9), WORDS, False),
        (HearingPlan(transcribes=False), WORDS, False),
    ],
)
async def test_what_interrupts_the_agent_is_its_plan(
    autojump_clock: MockClock, hearing: HearingPlan, sound: Sound, interrupted: bool
) -> None:
    """Told by the naive bridge, which passes everything on and decides nothing."""
    plan = CallPlan(
        caller=CallerPlan(steps=[Step(IntoSpeech(500), sound)], stays_ms=3000.0), agent=AgentPlan(hearing=hearing)
    )
    async with open_world(NaiveHouse) as world:
        lived = await world.live(plan)
    assert lived is not None and lived.missed == []
    assert lived.speeches[0].interrupted is interrupted


@pytest.mark.parametrize(("interrupt", "texts"), [(True, ["One", "Okay."]), (False, ["One two three four", "Okay."])])
async def test_say_waits_or_replaces(autojump_clock: MockClock, interrupt: bool, texts: list[str]) -> None:
    """Vapi's `say` waits for the present speech unless told to replace it (reference/vapi.md §5.2)."""

    class Talker(NaiveCall):
        async def dial(self) -> None:
            await super().dial()
            await trio.sleep(0.6)
            assert self.agent is not None
            self.agent.send_text(vapi.say("Okay.", interrupt=interrupt))

    class TalkerHouse(NaiveHouse):
        call = Talker

    plan = CallPlan(caller=CallerPlan(stays_ms=3000), agent=AgentPlan(first_message="One two three four"))
    async with open_world(TalkerHouse) as world:
        lived = await world.live(plan)
    assert lived is not None
    said = [" ".join(one.text.split()[: -(-one.sent_ms // WORD_MS)]) for one in lived.speeches]
    assert said == texts
