"""The storm on real actors: a plan from a seed, one world, every law that a call of one instance is held to."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import structlog
import trio
import trio.testing

from actors.storm.actor_laws import broken_by
from actors.storm.coverage import Coverage
from actors.storm.plan import StormPlan, plan_of
from actors.storm.storm_world import StormCall, StormWorld
from actors.world.world import seeded_scheduling

PERSONAL = ("+15550123", "+15550199")  # the world's callers: never in a log line

TWICE = 40  # a plan whose seed is a multiple is lived again


@dataclass(frozen=True)
class BrokenPlan:
    """A law that did not hold, and the plan under which it did not."""

    plan: StormPlan
    law: str
    at: float  # seconds since the admission of the call
    what: str
    call: int = 0  # which of the plan's


@dataclass
class LivedPlan:
    """A world that is over."""

    plan: StormPlan
    calls: list[StormCall]
    broken: BrokenPlan | None

    def trace(self) -> str:
        """A hash of all that was written and heard: the same for the same plan, on any machine."""
        whole = blake2b(digest_size=16)
        for call in self.calls:
            for record in call.records:
                whole.update(msgspec.json.encode(msgspec.structs.replace(record, wall_s=0.0)))
            whole.update(call.tap.heard)
            whole.update(repr(call.twilio_words).encode())
        return whole.hexdigest()


def live(seed: int, seen: Coverage) -> BrokenPlan | None:
    """The world of a seed; None when every law held."""
    return live_plan(plan_of(seed), seen).broken


def live_plan(plan: StormPlan, seen: Coverage) -> LivedPlan:
    """A plan, lived in virtual time under scheduling that is seeded by it; some twice, which must not differ."""
    lived = _live_once(plan, seen)
    if lived.broken is None and plan.seed % TWICE == 0 and _live_once(plan, Coverage()).trace() != lived.trace():
        lived.broken = BrokenPlan(plan, "the same plan is the same call", 0.0, "lived again it was another")
    return lived


def _live_once(plan: StormPlan, seen: Coverage) -> LivedPlan:
    world = StormWorld(plan, seen)
    with structlog.testing.capture_logs() as logged, seeded_scheduling(plan.seed):
        try:
            trio.run(world.run, clock=trio.testing.MockClock(autojump_threshold=0))
        except Exception as crash:
            return LivedPlan(plan, world.calls, BrokenPlan(plan, "nothing crashes", 0.0, _in_words(crash)))
    broken = next((BrokenPlan(plan, law.law, law.at, law.what, number) for number, law in broken_by(world)), None)
    if broken is None:
        told = next((line for line in logged if any(one in repr(line) for one in PERSONAL)), None)
        if told is not None:
            broken = BrokenPlan(plan, "S10 nothing personal is logged", 0.0, str(told.get("event")))
    return LivedPlan(plan, world.calls, broken)


def _in_words(crash: BaseException) -> str:
    while isinstance(crash, BaseExceptionGroup):
        crash = crash.exceptions[0]
    trace = crash.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {trace.tb_frame.f_code.co_name}" if trace is not None else ""
    return f"{type(crash).__name__}: {crash}{where}"
