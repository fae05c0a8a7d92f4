"""A week of a restaurant's telephone: real calls of the real supervisor in a world of virtual time, from one seed.

Who calls, what they do, how slow Vapi is and what breaks comes from the seed; when in the week they call is laid over
it afterwards, with quiet nights and busy evenings. By hand:

    python -m tests.web.lived_calls FOLDER [CALLS] [SEED]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import trio

from actors.call_actor import Arrival
from actors.ports import Plane, VapiCalls
from actors.supervisor import Admitted
from actors.tools import Toolbox, ToolProblem, make_tool
from actors.twilio_leg import TwilioLeg
from actors.world.agent import AgentPlan, Reply
from actors.world.caller import AfterAgent, CallerPlan, IntoSpeech, Step
from actors.world.carrier import LinePlan
from actors.world.house import FALLBACK, CallscopeHouse, Ringing
from actors.world.world import CallPlan, Lived, run_calls
from engine.agent import Agent
from engine.journal import Record
from tests.stories.scenes import murmur, noise, words
from tests.web.api.journals import write

DAY_S = 86_400.0
USD_PER_S = 0.0021
BUSY = (1, 0, 0, 0, 0, 0, 1, 2, 4, 6, 9, 14, 12, 7, 5, 6, 9, 18, 24, 22, 14, 8, 4, 2)  # calls by hour of the day
WISHES = ("a table for two tonight please", "do you have something free at eight", "can I bring my dog",
          "I would like to change my booking", "what is on the menu today", "six people on friday evening")  # fmt: skip
CUTS = ("no wait make it three", "sorry I meant friday", "stop please", "yes yes that is fine")
ANSWERS = (
    "Certainly. We have a table by the window at seven and another one in the garden at nine. Which would you like?",
    "Of course. The kitchen is open until ten, and the garden is closed when it rains. Shall I book it for you?",
    "That is no problem at all. I have written it down for you, and we are looking forward to seeing you.",
)
DROPS = ("call.in-progress.error-vapifault-worker-died", "pipeline-error-eleven-labs-voice-failed", "silence-timed-out")


class RestaurantHouse(CallscopeHouse):
    """Its callers have numbers, its tools fail now and then, and Vapi's report comes after each call."""

    def __init__(self, plane: Plane, vapi_calls: VapiCalls, *, rng: Random) -> None:
        self._rng = rng

        async def check_tables(party: int = 2) -> str:
            """Which tables are free."""
            await trio.sleep(rng.lognormvariate(-0.9, 0.6))
            return "A table is free at seven and at nine."

        async def book_table(party: int = 2) -> str:
            """Book one."""
            await trio.sleep(rng.lognormvariate(-0.3, 0.7))
            if rng.random() < 0.12:
                raise ToolProblem("The booking system does not answer.")
            return "Booked."

        async def find_booking(name: str = "") -> str:
            """Find a guest's booking."""
            await trio.sleep(rng.lognormvariate(-0.6, 0.5))
            if rng.random() < 0.3:
                raise ToolProblem("There is no booking under that name.")
            return "Friday, eight o'clock."

        made = [make_tool(check_tables, effect="read"), make_tool(find_booking, effect="read"),
                make_tool(book_table, effect="commit")]  # fmt: skip
        agent = Agent("bistro", assistant_id="scripted", fallback=FALLBACK)
        super().__init__(plane, vapi_calls, agent=agent, toolbox=Toolbox({one.spec.name: one for one in made}))

    def ring(self, call_sid: str) -> Ringing | None:
        number = f"+{self._rng.choice((1, 1, 1, 44, 49))}{self._rng.randrange(2_000_000_000, 9_999_999_999)}"
        admitted = self.supervisor.admit(Arrival(call_sid, "AC1", number, "+15550199"))
        if not isinstance(admitted, Admitted):
            return None
        leg = TwilioLeg(claim=self.supervisor.claim, clock=self.plane.clock, every_tick=self.plane.every_tick)
        return Ringing(admitted.call_id, leg, {"token": admitted.token})

    def take_records(self, call_id: str) -> list[Record]:
        records = super().take_records(call_id)
        usd = round(records[-1].at_ms / 1000 * USD_PER_S * self._rng.uniform(0.8, 1.2), 4)
        self.supervisor.report(f"agent-of-{call_id}", "customer-ended-call", cost_usd=usd)
        return [*records, *super().take_records(call_id)]


def plans(calls: int, seed: int) -> Iterator[CallPlan]:
    """One for each call."""
    for number in range(calls):
        rng = Random(f"{seed}/{number}")
        yield CallPlan(caller=_caller(rng), line=_line(rng), agent=_agent(rng), seed=number, longest_s=90.0)


def _caller(rng: Random) -> CallerPlan:
    steps: list[Step] = []
    if rng.random() < 0.03:  # hangs up at once
        return CallerPlan(stays_ms=rng.uniform(300, 2500))
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4))):
        wish = rng.choice(WISHES)
        steps.append(Step(AfterAgent(rng.uniform(300, 1800)), words(wish, 300 * len(wish.split()) // 5 * 5)))
        chance = rng.random()
        if chance < 0.28:
            cut = rng.choice(CUTS)
            steps.append(Step(IntoSpeech(rng.uniform(500, 2500)), words(cut, 250 * len(cut.split()))))
        elif chance < 0.42:
            steps.append(Step(IntoSpeech(rng.uniform(500, 2500)), noise(rng.choice((60, 100, 140)))))
        elif chance < 0.5:
            steps.append(Step(IntoSpeech(rng.uniform(500, 2500)), murmur("uh-huh")))
    stays = rng.uniform(400, 6000) if rng.random() < 0.93 else 80_000.0  # falls silent, and stays on the line
    return CallerPlan(tuple(steps), stays_ms=stays)


def _line(rng: Random) -> LinePlan:
    up_ms = rng.uniform(20, 90)
    gone = rng.uniform(4000, 15_000) if rng.random() < 0.015 else None
    return LinePlan(up_ms=up_ms, down_ms=up_ms, up_jitter_ms=rng.uniform(0, 15), vanishes_at_ms=gone)


def _agent(rng: Random) -> AgentPlan:
    replies = [_reply(rng) for _ in range(8)]
    if rng.random() < 0.3:
        replies[rng.randrange(2, 5)] = Reply("Thank you for calling. Goodbye.", ends_call=True)
    trouble = rng.random()
    at_ms = rng.uniform(5000, 20_000)
    script = ((at_ms, {"type": "status-update", "status": "ended", "endedReason": rng.choice(DROPS)}),)
    return AgentPlan(
        replies=replies,
        answer_ms=round(rng.lognormvariate(6.0, 0.35)),
        create="refuse" if trouble < 0.012 else "ok",
        socket="never opens" if 0.012 <= trouble < 0.02 else "ok",
        mute_after_ms=at_ms if 0.02 <= trouble < 0.045 else None,
        drop_after_ms=at_ms if 0.045 <= trouble < 0.06 else None,
        script=script if 0.06 <= trouble < 0.085 else (),
    )


def _reply(rng: Random) -> Reply:
    think_ms = rng.lognormvariate(5.2, 0.9) + (rng.uniform(2500, 9000) if rng.random() < 0.02 else 0.0)
    tool = rng.choice(("", "", "", "check_tables", "check_tables", "book_table", "find_booking"))
    return Reply(rng.choice(ANSWERS), tool=tool, think_ms=think_ms)


def moments(calls: int, seed: int, until_s: float, days: int = 7) -> list[float]:
    """When they begin: Unix seconds of the days before `until_s`, busy in the evening and at weekends."""
    rng = Random(f"moments/{seed}")
    found: list[float] = []
    while len(found) < calls:
        at = until_s - rng.random() * days * DAY_S
        moment = time.gmtime(at)
        if rng.random() * 30 < BUSY[moment.tm_hour] * (1.25 if moment.tm_wday >= 4 else 0.8):
            found.append(at)
    return sorted(found)


def live(data: Path, *, calls: int, seed: int, until_s: float) -> Sequence[str]:
    """Live the calls, and write their journal; their ids."""
    starts = iter(moments(calls, seed, until_s))
    rng = Random(f"house/{seed}")
    written: list[list[Record]] = []

    def lived(one: Lived) -> None:
        began_s = next(starts, until_s)
        written.append(
            [msgspec.structs.replace(record, wall_s=round(began_s + record.at_ms / 1000, 3)) for record in one.records]
        )

    run_calls(lambda plane, vapi: RestaurantHouse(plane, vapi, rng=rng), plans(calls, seed), seed=seed, lived=lived)
    write(data, *written)
    return [records[0].call_id for records in written]


def main(folder: str, calls: str = "300", seed: str = "7") -> None:
    made = live(Path(folder), calls=int(calls), seed=int(seed), until_s=time.time())
    print(f"{len(made)} calls in {folder}, seed {seed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
