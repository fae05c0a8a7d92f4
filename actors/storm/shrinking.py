"""The smallest plan that still breaks the same law: faults, steps and tools are taken away while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from actors.storm.engine_level import Broken, EnginePlan, relive
from actors.storm.plan import CallOfPlan, StormPlan
from actors.storm.policies import policy_of

T = TypeVar("T")
MOST_TRIES = 600


def without_some(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """The same items without a half, a quarter, … of them: the biggest bites first."""
    size = len(items) // 2 or 1
    while items and size:
        for start in range(0, len(items), size):
            yield (*items[:start], *items[start + size :])
        size //= 2


def shrink(plan: T, smaller: Callable[[T], Iterator[T]], fails: Callable[[T], bool], *, tries: int = MOST_TRIES) -> T:
    """Take the first smaller plan that fails, again and again, until none does or the tries are used up."""
    while True:
        for candidate in smaller(plan):
            tries -= 1
            if tries < 0:
                return plan
            if fails(candidate):
                plan = candidate
                break
        else:
            return plan


# --- the engine's plans ----------------------------------------------------------------------------------------------


def shrink_facts(broken: Broken, *, tries: int = 20_000) -> Broken:
    """The fewest facts, with the usual policy and no lateness where these do not matter."""

    def fails(plan: EnginePlan) -> bool:
        again = relive(plan)
        return again is not None and again.law == broken.law

    plan = shrink(broken.plan, _fewer_facts, fails, tries=tries)
    again = relive(plan)
    return again if again is not None else broken


def _fewer_facts(plan: EnginePlan) -> Iterator[EnginePlan]:
    for facts in without_some(plan.facts):
        yield replace(plan, facts=facts)
    if plan.policy_number:
        yield replace(plan, policy=policy_of(0), policy_number=0)
    if plan.lateness_s:
        yield replace(plan, lateness_s=0.0)
    if plan.wild:
        yield replace(plan, wild=False)


# --- whole worlds ----------------------------------------------------------------------------------------------------


def smaller_plans(plan: StormPlan) -> Iterator[StormPlan]:
    """Plans with less in them: calls, faults, acts, tools; then defaults for what is left; then rounder numbers."""
    change = msgspec.structs.replace
    if len(plan.calls) > 1:
        for calls in without_some(plan.calls):
            if calls:
                yield change(plan, calls=calls)
    for number, call in enumerate(plan.calls):

        def with_call(one: CallOfPlan, number: int = number) -> StormPlan:
            return change(plan, calls=(*plan.calls[:number], one, *plan.calls[number + 1 :]))

        for name in ("faults", "acts", "orders", "answers"):
            for fewer in without_some(getattr(call, name)):
                yield with_call(change(call, **{name: fewer}))
    if plan.agent:
        yield change(plan, agent=0)
    for tools in without_some(plan.tools):
        yield change(plan, tools=tools)
    for number, call in enumerate(plan.calls):
        for one in _plainer(call):
            yield change(plan, calls=(*plan.calls[:number], one, *plan.calls[number + 1 :]))


_KEPT = {"acts", "faults", "orders", "answers", "connect_ms"}


def _plainer(call: CallOfPlan) -> Iterator[CallOfPlan]:
    usual = CallOfPlan()
    for field in msgspec.structs.fields(CallOfPlan):
        name = field.name
        value: Any = getattr(call, name)
        if name not in _KEPT and value != getattr(usual, name):
            yield msgspec.structs.replace(call, **{name: getattr(usual, name)})
    for name in ("faults", "acts", "answers"):
        for index, item in enumerate(getattr(call, name)):
            for simpler in _simpler(item):
                items = list(getattr(call, name))
                items[index] = simpler
                yield msgspec.structs.replace(call, **{name: tuple(items)})


def _simpler(item: Any) -> Iterator[Any]:
    """Rounder moments, no tool."""
    for name in ("at_ms", "ms"):
        value = getattr(item, name, None)
        if value is not None and value % 100 and value > 100:
            yield msgspec.structs.replace(item, **{name: value // 100 * 100})
    if getattr(item, "tool", ""):
        yield msgspec.structs.replace(item, tool="")
    if getattr(item, "n_words", 1) > 1:
        yield msgspec.structs.replace(item, n_words=1)
