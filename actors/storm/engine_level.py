"""The storm on the pure engine: so many lives, laws after every step, and the facts that broke one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop
from math import inf
from types import FunctionType, MethodType

from actors.storm.coverage import Coverage
from actors.storm.engine_laws import EngineLaws
from actors.storm.law_broken import LawBroken
from actors.storm.life import Item, Life
from engine import effects as f
from engine import events as e
from engine.call import Call, Policy
from engine.step import apply, opened
from engine.turns import deadline_of, name_event

MOST_STEPS = 3000
TWICE = 40  # a life whose seed is a multiple is lived again
Told = Callable[[Call, e.Event, Call, tuple[f.Effect, ...]], None]
"""Is shown every step: the call before, what happened, the call after, the orders."""
React = Callable[[Call, e.Event, tuple[f.Effect, ...]], None]
_THUNKS = (FunctionType, MethodType)


@dataclass(frozen=True)
class EnginePlan:
    """A call as facts: what was posted, when. Deadlines come by themselves, so much too late each."""

    policy: Policy
    facts: tuple[e.Event, ...]
    lateness_s: float = 0.0
    wild: bool = False
    seed: int = 0
    policy_number: int = 0


@dataclass(frozen=True)
class Broken:
    """A law that did not hold, and what led to it."""

    plan: EnginePlan
    law: str
    at: float
    what: str


def live(seed: int, seen: Coverage) -> Broken | None:
    """One random life; None when every law held."""
    life = Life(seed)
    facts: list[e.Event] = []
    try:
        call = _drive(life, seen, facts)
        if seed % TWICE == 0 and _drive(Life(seed), Coverage(), []) != call:
            raise LawBroken("the same seed is the same call", call.entered_at, "lived again it was another")  # noqa: TRY301
    except LawBroken as broken:
        plan = EnginePlan(
            life.policy, tuple(facts), life.lateness_s, wild=life.wild, seed=seed, policy_number=life.policy_number
        )
        return Broken(plan, broken.law, broken.at, broken.what)
    finally:
        seen.faults.update(life.faults)
    return None


def _drive(life: Life, seen: Coverage, kept: list[e.Event]) -> Call:
    return drive(life.policy, life.heap, life.react, seen, wild=life.wild, lateness_s=life.lateness_s, kept=kept)


def plan_of(seed: int) -> EnginePlan:
    """The facts of a seed's life, as they came to be when it was lived."""
    life, facts = Life(seed), list[e.Event]()
    with suppress(LawBroken):
        _drive(life, Coverage(), facts)
    return EnginePlan(
        life.policy, tuple(facts), life.lateness_s, wild=life.wild, seed=seed, policy_number=life.policy_number
    )


def relive(plan: EnginePlan, told: Told | None = None) -> Broken | None:
    """The same facts again."""
    heap: list[Item] = [(fact.at, number, fact) for number, fact in enumerate(plan.facts)]
    heap.sort(key=lambda item: item[:2])
    try:
        drive(plan.policy, heap, _nothing, Coverage(), wild=plan.wild, lateness_s=plan.lateness_s, kept=[], told=told)
    except LawBroken as broken:
        return Broken(plan, broken.law, broken.at, broken.what)
    return None


def _nothing(call: Call, event: e.Event, effects: tuple[f.Effect, ...]) -> None:
    pass


def drive(
    policy: Policy,
    heap: list[Item],
    react: React,
    seen: Coverage,
    *,
    wild: bool,
    lateness_s: float,
    kept: list[e.Event],
    told: Told | None = None,
) -> Call:
    """Post what the heap holds, honour every deadline, and check each step.

    Args:
        kept: gets the facts that were posted, in order.

    Raises:
        LawBroken: on the first step that breaks a law.
    """
    call, _ = opened("call", policy)
    laws = EngineLaws(policy, wild=wild, lateness_s=lateness_s)
    rules, ways = seen.rules, seen.ways
    due, now = deadline_of(call), 0.0
    for _ in range(MOST_STEPS):
        if heap and heap[0][0] <= due + lateness_s:
            at, _n, item = heappop(heap)
            if isinstance(item, _THUNKS):
                made = item(at)
                if made is None:
                    continue
                item = made
            fact: e.Event = item  # type: ignore[assignment]
            kept.append(fact)
        elif due == inf:
            return call
        else:
            fact = e.DeadlinePassed(at=max(due + lateness_s, now))  # one that is overdue is heard now, not then
        phase = call.phase
        now = max(now, fact.at)
        try:
            event = name_event(call, fact)
            after, effects = apply(call, event)
        except Exception as crash:
            raise LawBroken("no step crashes", fact.at, f"{type(fact).__name__} in {phase}: {crash!r}") from crash
        rules[phase, type(event)] += 1
        due = deadline_of(after)
        if told is not None:
            told(call, event, after, effects)
        laws.check(call, event, after, effects, due)
        if after.phase is not phase:
            ways[phase, after.phase] += 1
        call = after
        react(call, event, effects)
    raise LawBroken("I13 every wait has a way out", call.entered_at, f"still in {call.phase} after {MOST_STEPS} steps")
