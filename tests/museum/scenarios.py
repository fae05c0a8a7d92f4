"""Scenes for bugs of which no story is elsewhere. Each passes, or raises AssertionError (or never ends in its time)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from actors.ports import Plane, VapiCalls
from actors.tools import Toolbox, make_tool
from actors.world.agent import Reply
from actors.world.caller import AfterAgent, IntoSpeech, Step
from actors.world.house import House
from actors.world.world import CallPlan, Lived, run_calls
from engine import events as e
from engine import ledger
from engine.ledger import Ruling
from engine.phases import Phase
from engine.tools import ToolEffect
from engine.wire import signatures
from tests.engine.test_edges import played, then
from tests.engine.test_stories import GREETING, TALKING, UP
from tests.stories.scenes import NOON, SceneHouse, agent_plan, call, live, live_all, noise, policy, words

ASKS = Step(AfterAgent(700), words("a table for two please"))
CUTS_IN = Step(IntoSpeech(900), words("no wait", 500))


def _house(plane: Plane, vapi_calls: VapiCalls, *, kind: type[SceneHouse] = SceneHouse) -> House:
    return kind(plane, vapi_calls, agent=policy(), toolbox=Toolbox(), wall_clock_s=NOON)


def _lived(plans: Sequence[CallPlan], *, at_once: int, kind: type[SceneHouse] = SceneHouse) -> list[Lived]:
    found: list[Lived] = []
    run_calls(partial(_house, kind=kind), plans, seed=1, at_once=at_once, lived=found.append)
    return found


def _told(lived: Lived) -> list[tuple[str, float, dict[str, Any]]]:
    """The journal without what names the call or its moment of the day."""
    return [
        (record.name, round(record.at_ms, 1), {key: one for key, one in record.data.items() if key != "agent_call_id"})
        for record in lived.records
        if record.kind not in ("opened", "closed")
    ]


def nothing_of_one_call_is_in_the_next() -> None:
    """Three equal calls, one after the other: the same lines of ours, the same numbers, the same words heard."""
    plan = call(CUTS_IN, ASKS, vapi=agent_plan(answer_ms=2500))
    one, two, three = _lived([plan] * 3, at_once=1)
    for other in (two, three):
        assert [name for name, _, _ in _told(one)] == [name for name, _, _ in _told(other)]
        heard = [[data for name, _, data in _told(lived) if name in ("AgentHeard", "Line")] for lived in (one, other)]
        assert heard[0] == heard[1]


def every_call_is_let_go() -> None:
    """Twenty calls that end in every way: none is kept, no task of one lives, and none hangs at the end."""
    houses: list[SceneHouse] = []

    class Watched(SceneHouse):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            houses.append(self)

    more: tuple[dict[str, Any], ...] = ({}, {"drop_after_ms": 2000}, {"create": "refuse"}, {"mute_after_ms": 1500})
    plans = [call(CUTS_IN, ASKS, vapi=agent_plan(**more[seed % 4]), seed=seed) for seed in range(20)]
    assert len(_lived(plans, at_once=20, kind=Watched)) == 20
    (house,) = houses
    assert not house.supervisor.live and house.supervisor.statistics.ended == 20
    assert house.supervisor.statistics.crashed == 0


def a_booking_is_made_once() -> None:
    """Each webhook comes three times: the table is booked once, and all copies get the first answer."""
    booked: list[str] = []

    async def book(day: str) -> str:
        """Book a table."""
        booked.append(day)
        await trio.sleep(0.2)
        return "booked"

    toolbox = Toolbox({"book": make_tool(book, effect="commit", timeout_s=5)})
    replies = (Reply("your table is booked", tool="book", arguments={"day": "friday"}),)
    plan = replace(call(ASKS, vapi=agent_plan(first_words=6, replies=replies), stays_ms=4000), webhooks=3)
    (ours,) = live_all([plan], toolbox=toolbox)
    assert booked == ["friday"] and len(ours.lived.speeches) == 2 and ours.is_whole(1)


def a_tool_of_a_turn_that_was_cut_never_begins() -> None:
    """The caller cuts in: what the model had asked for before, or asks for without new words, is not done."""
    cut, _ = played(*UP, *GREETING, *TALKING, e.CallerTranscript(at=7.3, text="no stop", final=False))
    assert cut.phase is Phase.INTERRUPTED
    for effect in (ToolEffect.COMMIT, ToolEffect.TERMINAL, ToolEffect.IDEMPOTENT):
        assert ledger.ruling(cut, effect, 7.2) is Ruling.DISCARD
        assert ledger.ruling(cut, effect, 7.4) is Ruling.DISCARD
    assert ledger.ruling(cut, ToolEffect.READ, 7.2) is Ruling.RUN


def a_tool_that_was_interrupted_as_it_began_does_not_stay_in_progress() -> None:
    """It answers in the interruption: the call waits for nobody any more and listens."""
    after, _ = then(
        Phase.INTERRUPTED,
        e.AgentInterrupted(at=5.21),
        e.ToolRequested(at=5.22, tool_call_id="t1", name="check", arguments={}),
        e.ToolAnswered(at=5.4, tool_call_id="t1", ok=True, took_ms=180),
        e.ReportArrived(at=6.0, ended_reason="x"),
    )
    assert after.phase is Phase.LISTENING and after.tools == ()


class _DrainedHouse(SceneHouse):
    """A deploy begins in the second second."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain)
            await super().run(task_status=task_status)
            nursery.cancel_scope.cancel(reason="the world is over")

    async def _drain(self) -> None:
        await trio.sleep(2)
        await self.supervisor.drain(patience_s=60)


def a_deploy_waits_for_every_call() -> None:
    """One call is over at once; the other talks on for a while, and is not ended by it."""
    short = call(vapi=agent_plan(first_words=4), stays_ms=1500)
    long = call(ASKS, replace(ASKS, when=AfterAgent(4000)), vapi=agent_plan(first_words=10), stays_ms=3000)
    lived = _lived([short, long], at_once=2, kind=_DrainedHouse)
    assert len(lived) == 2
    for one in lived:
        assert one.hung_up, "the caller is who ends it"
    assert not any(record.name == "HangUpOrdered" for one in lived for record in one.records)


def a_signature_holds_behind_a_proxy() -> None:
    """Twilio signed the public address; the request came to another host, and with its port or without."""
    checks = signatures.TwilioSignatures(["token"])
    for signed in ("https://calls.example.com/webhook/twilio?a=1", "https://calls.example.com:443/webhook/twilio?a=1"):
        sent = {"X-Twilio-Signature": signatures.twilio_signature("token", signed, (("CallSid", "CA1"),))}
        address = signatures.public_url("https://calls.example.com", "/webhook/twilio", b"a=1")
        checks.check_form(address, (("CallSid", "CA1"),), sent)


def the_same_call_twice_is_the_same_call() -> None:
    """One seed, one trace: every record at the same microsecond, on a busy machine as on an idle one."""
    plan = call(Step(IntoSpeech(900), noise(200)), CUTS_IN, ASKS, seed=3)
    traces = [[(record.name, record.exact_s, record.at_ms) for record in live_one(plan).records] for _ in range(2)]
    assert traces[0] == traces[1]


def live_one(plan: CallPlan) -> Lived:
    (lived,) = _lived([plan], at_once=1)
    return lived


def a_key_is_heard() -> None:
    """A key pressed over the agent reaches it as words, and the line stays up."""
    ours = live(Step(IntoSpeech(1500), press="7"), vapi=agent_plan(ahead_ms=3000), stays_ms=5000)
    assert ours.told("add-message")[-1] == "The caller pressed 7 on the keypad." and ours.lived.hung_up
