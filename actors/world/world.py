"""A world in which whole calls are lived: a carrier, people on the phone, scripted agents, and a house that answers.

    async with open_world(CallscopeHouse, seed=7) as world:
        lived = await world.live(CallPlan(...))

Under a mock clock that jumps (`run_world`), a call of 20 s takes tens of milliseconds; calls that live at the same time
share the jumps. The same seed gives the same world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import trio
import trio.testing

from actors.ports import AgentCall, Plane, VapiCalls
from actors.world.agent import AgentPlan, ScriptedAgent, Speech
from actors.world.caller import Caller, CallerPlan, Placed, Step
from actors.world.carrier import Carrier, LinePlan
from actors.world.house import House
from actors.world.tap import Tap
from actors.world.timetable import Timetable
from actors.world.wires import MemoryPlane, MemoryWire
from actors.world.words import words_heard
from engine.audio import FRAME_MS
from engine.errors import VapiTrouble
from engine.journal import Record
from engine.phrases import normalise
from engine.wire import vapi

MakeHouse = Callable[[Plane, VapiCalls], House]
GIVEN_BACK_MS = 30  # from the close of the stream to Twilio's next webhook
LOST_S = 12.0  # Twilio does not come: so long until the call is over for it
AGAIN_MS = 50  # from a webhook to its copy


@dataclass(frozen=True)
class CallPlan:
    """One call: who phones, over which line, and what answers at Vapi's."""

    caller: CallerPlan = field(default_factory=CallerPlan)
    line: LinePlan = field(default_factory=LinePlan)
    agent: AgentPlan = field(default_factory=AgentPlan)
    seed: int = 0
    longest_s: float = 120.0  # then the caller hangs up, whatever the plan says
    stream_ms: int = 30  # from the voice webhook to the open stream
    webhooks: int = 1  # each comes so often
    comes_back: bool = True  # Twilio asks for its next TwiML once the service has closed the stream
    lines: Mapping[str, int] = field(default_factory=dict)  # the service's own, by their text: `actors.world.words`


@dataclass
class Lived:
    """What is left of a call: all that a referee needs."""

    plan: CallPlan
    call_id: str
    tap: Tap
    placed: list[Placed]
    speeches: list[Speech]
    records: list[Record]
    opened_at: float  # Trio's time when the call was admitted: 0 in the journal
    began_at: float  # Trio's time of the stream's, and the tap's, millisecond 0
    ended_ms: float
    hung_up: bool  # by the caller; else by the service
    words: str  # what Twilio was told to say in the end
    missed: list[Step]  # steps of the caller's whose moment never came
    clears: list[float]
    told: list[dict[str, Any]] = field(repr=False)  # text frames to Vapi
    problems: Mapping[str, int] = field(default_factory=dict)
    unheard_frames: int = 0  # of the caller's, that the agent got and could not place


class World:
    """The outside of a house.

    Args:
        make_house: what answers; gets the plane and Vapi's REST side.
        seed: of everything that happens by chance, with each call's own seed.
    """

    def __init__(self, make_house: MakeHouse, *, seed: int = 0) -> None:
        self.timetable = Timetable()
        self.plane = MemoryPlane(self.timetable, self._pick_up)
        self.house = make_house(self.plane, self)
        self._seed = seed
        self._number = 0
        self._agents: dict[str, ScriptedAgent] = {}  # by the service's call id

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep time and the house until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.timetable.run)
            await nursery.start(self.house.run)
            task_status.started()

    async def live(self, plan: CallPlan) -> Lived | None:
        """One whole call; None when the house declined it."""
        self._number += 1
        call_sid = f"CA{self._number:032d}"
        rng = Random(f"{self._seed}/{plan.seed}")  # noqa: S311 — chance, no secret
        opened_at = trio.current_time()
        ringing = self.house.ring(call_sid)
        for _ in range(plan.webhooks - 1):
            ringing = self.house.ring(call_sid)
        if ringing is None:
            return None
        call_id = ringing.call_id
        phase_ms = plan.line.phase_ms
        tap = Tap(phase_ms=rng.randrange(FRAME_MS) if phase_ms is None else phase_ms)
        caller = Caller(plan.caller, tap, rng, ears=lambda since_ms: self._words_heard(call_id, plan, tap, since_ms))
        carrier = Carrier(self.timetable, plan.line, caller=caller, tap=tap, rng=rng, call_sid=call_sid)
        async with trio.open_nursery() as nursery:
            agent = self._agents[ringing.call_id] = ScriptedAgent(
                self.timetable,
                plan.agent,
                source=carrier,
                generated=tap.agent,
                rng=rng,
                run_tools=lambda calls: self._run_tools(call_id, plan, calls),
                start=nursery.start_soon,
            )
            await trio.sleep(plan.stream_ms / 1000)
            carrier.open(ringing.listener, ringing.parameters)
            with trio.move_on_after(plan.longest_s):
                await carrier.over.wait()
            carrier.hang_up()
            await carrier.over.wait()
            words = await self._after(call_sid, plan, carrier)
            nursery.cancel_scope.cancel()
        del self._agents[ringing.call_id]
        assert carrier.ended_ms is not None
        return Lived(
            plan=plan,
            call_id=ringing.call_id,
            tap=tap,
            placed=caller.placed,
            speeches=agent.speeches,
            records=self.house.take_records(ringing.call_id),
            opened_at=opened_at,
            began_at=carrier.began_at,
            ended_ms=carrier.ended_ms,
            hung_up=carrier.hung_up,
            words=words,
            missed=caller.missed,
            clears=carrier.clears,
            told=agent.told,
            problems=carrier.problems,
            unheard_frames=agent.hearing.strange_frames,
        )

    def _words_heard(self, call_id: str, plan: CallPlan, tap: Tap, since_ms: float) -> str:
        agent = self._agents.get(call_id)
        speeches = agent.speeches if agent is not None else []
        return normalise(" ".join(one.text for one in words_heard(tap, speeches, plan.lines) if one.at_ms >= since_ms))

    async def _after(self, call_sid: str, plan: CallPlan, carrier: Carrier) -> str:
        """The stream is over: Twilio comes for its TwiML if the service closed it, and reports the end."""
        words = ""
        if not carrier.hung_up:
            await trio.sleep(GIVEN_BACK_MS / 1000 if plan.comes_back else LOST_S)
            for _ in range(plan.webhooks if plan.comes_back else 0):
                words = self.house.given_back(call_sid) or words
        for _ in range(plan.webhooks):
            self.house.hung_up(call_sid)
        await self.house.wait_over(call_sid)
        return words

    # --- Vapi --------------------------------------------------------------------------------------------------------

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        """Fulfils `actors.ports.VapiCalls`. The body's name is the call's id, as in production."""
        call_id = str(body["name"])
        plan = self._agents[call_id].plan
        if plan.create == "hang":
            await trio.sleep(deadline_s)
            raise VapiTrouble("no answer in time")
        await trio.sleep(plan.create_ms / 1000)
        if plan.create == "refuse":
            raise VapiTrouble("refused", status=400)
        return AgentCall(f"agent-of-{call_id}", f"memory:{call_id}")

    async def end_call(self, call: AgentCall) -> None:
        await trio.lowlevel.checkpoint()

    def _pick_up(self, url: str) -> MemoryWire | None:
        agent = self._agents[url.partition(":")[2]]
        if agent.plan.socket == "refuse":
            raise ConnectionError("refused")
        if agent.plan.socket == "never opens":
            return None
        agent.open()
        return agent.wire

    async def _run_tools(self, call_id: str, plan: CallPlan, calls: Sequence[Mapping[str, Any]]) -> list[str]:
        """The webhook, as often as it comes; the first answer counts."""
        answers: list[list[str]] = []
        async with trio.open_nursery() as nursery:

            async def post(late_s: float) -> None:
                await trio.sleep(late_s)
                answers.append(await self._tool_webhook(call_id, calls))

            for number in range(plan.webhooks):
                nursery.start_soon(post, number * AGAIN_MS / 1000)
        return answers[0]

    async def _tool_webhook(self, call_id: str, calls: Sequence[Mapping[str, Any]]) -> list[str]:
        """The webhook, read as in production."""
        message = {"type": "tool-calls", "call": {"id": f"agent-of-{call_id}"}, "toolCallList": list(calls)}
        webhook = vapi.read_webhook(msgspec.json.encode({"message": message}))
        assert isinstance(webhook.content, vapi.ToolCalls)
        return await self.house.run_tools(webhook.call_id, webhook.content.calls)


@asynccontextmanager
async def open_world(make_house: MakeHouse, *, seed: int = 0) -> AsyncIterator[World]:
    """A world that lives as long as the block."""
    world = World(make_house, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        yield world
        nursery.cancel_scope.cancel()


def run_calls(
    make_house: MakeHouse,
    plans: Iterable[CallPlan],
    *,
    seed: int = 0,
    at_once: int = 20,
    real_time: bool = False,
    lived: Callable[[Lived], None],
) -> None:
    """Live all these calls, so many at a time, and hand each to `lived` when it is over.

    Blocks until they are all over; in virtual time unless `real_time`. Trio's own choice of which task comes first is
    seeded too, so that the same seed gives the same calls.
    """

    async def one_after_the_other(world: World, waiting: Iterator[CallPlan]) -> None:
        for plan in waiting:
            result = await world.live(plan)
            if result is not None:
                lived(result)

    async def all_of_them() -> None:
        waiting = iter(plans)
        async with open_world(make_house, seed=seed) as world, trio.open_nursery() as callers:
            for _ in range(at_once):
                callers.start_soon(one_after_the_other, world, waiting)

    with seeded_scheduling(seed):
        trio.run(all_of_them, clock=None if real_time else trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def seeded_scheduling(seed: int) -> Iterator[None]:
    """Trio shuffles the tasks that are ready; with its generator seeded the shuffle is the same each time.

    What Trio does for itself under Hypothesis; there is no public way.
    """
    trio_run: Any = trio._core._run
    before, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before
        trio_run._r.setstate(state)
