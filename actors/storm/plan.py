"""A storm's call as data: who does what when, and which faults strike. Made from a seed; small enough to be read.

A plan file holds one `StormPlan` as YAML or JSON. Milliseconds throughout; a fault's moment counts from the admission
of the call.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

from actors.storm.policies import POOL
from engine.tools import ToolEffect

FaultKind = Literal[
    "F2 stream reset", "F2 stream closed", "F3 second stream", "F4 stream never opens", "F5 half-open",
    "F6 create refused", "F6 create times out", "F7 socket refused", "F7 socket never opens", "F8 agent's socket drops",
    "F9 agent mute", "F9 agent frozen", "F10 burst", "F11 webhooks twice", "F12 webhooks in another order",
    "F13 webhooks late", "F14 webhooks lost", "F24 slow tool", "F25 broken tool", "F26 stall", "F28 back-pressure",
    "F29 step crashes", "F34 rescue fails", "marks lost", "garbage from Twilio", "garbage from Vapi", "strange frames",
    "stale transcript", "interrupted for nothing", "agent's pipeline breaks",
]  # fmt: skip
"""By the numbers of reference/reliability.md §3; without one: what else the vendors were seen to do."""

MOMENT_KINDS: tuple[FaultKind, ...] = (
    "F2 stream reset", "F2 stream closed", "F3 second stream", "F8 agent's socket drops", "F26 stall",
    "F28 back-pressure", "F29 step crashes", "garbage from Twilio", "garbage from Vapi", "strange frames",
    "stale transcript", "interrupted for nothing", "agent's pipeline breaks", "F5 half-open", "F9 agent mute",
    "F9 agent frozen", "F10 burst",
)  # fmt: skip
"""Faults that strike at a moment."""
WHOLE_KINDS: tuple[FaultKind, ...] = (
    "F4 stream never opens", "F6 create refused", "F6 create times out", "F7 socket refused", "F7 socket never opens",
    "F11 webhooks twice", "F12 webhooks in another order", "F13 webhooks late", "F14 webhooks lost",
    "F34 rescue fails", "marks lost",
)  # fmt: skip
"""Faults of a whole call."""


class _Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Fault(_Plan, frozen=True):
    kind: FaultKind
    at_ms: float = 0.0
    more: float = 0.0  # what the kind makes of it: a length in ms, a count


class Act(_Plan, frozen=True):
    """One thing that the caller does: words, a noise, keys, or the end."""

    when: Literal["at", "into", "after agent", "after me"] = "after agent"
    ms: float = 500.0
    say: str = ""
    sound_ms: int = 0  # of the words, or of a noise
    press: str = ""
    hang_up: bool = False
    patience_s: float = 6.0


class Answer(_Plan, frozen=True):
    """What the agent says to one turn."""

    n_words: int = 5
    tool: str = ""  # asked for first
    ends_call: bool = False


class ToolPlan(_Plan, frozen=True):
    name: str
    effect: ToolEffect = ToolEffect.READ
    takes_ms: float = 200.0
    how: Literal["answers", "crashes", "says why not", "is huge", "is garbage", "never answers"] = "answers"


class Order(_Plan, frozen=True):
    """An operator's, or a limit's, order to the call."""

    at_ms: float
    kind: Literal["hang up", "transfer", "drain"] = "hang up"


class CallOfPlan(_Plan, frozen=True):
    """One call."""

    acts: tuple[Act, ...] = ()
    faults: tuple[Fault, ...] = ()
    orders: tuple[Order, ...] = ()
    greeting_words: int = 5
    answers: tuple[Answer, ...] = (Answer(),)
    stays_ms: float = 1500.0
    starts_ms: float = 0.0
    up_ms: float = 0.0
    down_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    agent_jitter_ms: float = 0.0
    connect_ms: int = 140
    create_ms: int = 50
    answer_ms: int = 400
    num_words: int = 1
    deaf: bool = False
    hears_noise: bool = False
    transcribes: bool = True
    confidence: float | None = 0.92
    late_ms: int = 0
    tells_words: bool = False  # Vapi says what it is about to say


class StormPlan(_Plan, frozen=True):
    """One world: mostly one call, now and then several beside each other."""

    seed: int = 0
    agent: int = 0  # `actors.storm.policies.agent_of`
    tools: tuple[ToolPlan, ...] = ()
    calls: tuple[CallOfPlan, ...] = (CallOfPlan(),)


SAYINGS = (
    "stop", "wait", "no", "hold on a moment", "uh-huh", "yeah", "okay", "right", "two", "operator", "hm",
    "a table for four at seven please", "I would like to know whether you are open", "no I mean eight", "okay stop",
    "can you say that again", "nine", "and for six people by the window if you have one there",
)  # fmt: skip
MURMURS = ("uh-huh", "yeah", "okay", "right", "hm")
TOOL_NAMES = ("look_up", "remember", "book", "hand_over")
EFFECTS = (ToolEffect.READ, ToolEffect.IDEMPOTENT, ToolEffect.COMMIT, ToolEffect.TERMINAL)
HOWS = ("answers", "answers", "answers", "answers", "crashes", "says why not", "is huge", "is garbage", "never answers")


def plan_of(seed: int) -> StormPlan:
    """The plan that a seed stands for."""
    chance = Random(f"storm/{seed}")  # noqa: S311 — a storm, no secret
    tools = tuple(_tool(chance, name, effect) for name, effect in zip(TOOL_NAMES, EFFECTS, strict=True))
    n_calls = 1 if chance.random() < 0.94 else chance.choice((2, 3))
    agent = chance.randrange(POOL) if chance.random() < 0.7 else 0
    calls = tuple(_call(chance, number) for number in range(n_calls))
    return StormPlan(seed=seed, agent=agent, tools=tools, calls=calls)


def _tool(chance: Random, name: str, effect: ToolEffect) -> ToolPlan:
    takes_ms = round(chance.choice((0, 50, 400, 1500, 4000)) * (0.5 + chance.random()))
    how: Any = chance.choice(HOWS)
    return ToolPlan(name, effect, takes_ms, how)


def _call(chance: Random, number: int) -> CallOfPlan:
    pick, u = chance.choice, chance.random
    acts = tuple(_act(chance) for _ in range(pick((0, 1, 1, 2, 2, 3))))
    answers = tuple(
        Answer(pick((1, 3, 5, 8)), pick(TOOL_NAMES) if u() < 0.35 else "", u() < 0.08) for _ in range(pick((1, 2, 3)))
    )
    faults = [_fault(chance) for _ in range(pick((0, 0, 1, 1, 1, 2, 3)))]
    orders = (Order(round(u() * 8000), pick(("hang up", "transfer"))),) if u() < 0.08 else ()
    return CallOfPlan(
        acts=acts,
        faults=tuple(faults),
        orders=orders,
        greeting_words=pick((0, 2, 4, 6, 10)),
        answers=answers,
        stays_ms=pick((300.0, 1500.0, 3000.0)) if u() < 0.93 else 30_000.0,
        starts_ms=round(number * 700 * u()),
        up_ms=pick((0, 0, 20, 80)),
        down_ms=pick((0, 0, 20, 80)),
        jitter_ms=pick((0, 0, 0, 40, 120)),
        loss_percent=pick((0, 0, 0, 2)),
        agent_jitter_ms=pick((0, 0, 0, 100, 300)),
        connect_ms=pick((60, 140, 800)),
        create_ms=pick((20, 50, 300, 1800)),
        answer_ms=pick((100, 400, 400, 1500)),
        num_words=pick((0, 1, 1, 1, 2)),
        deaf=u() < 0.08,
        hears_noise=u() < 0.1,
        transcribes=u() >= 0.06,
        confidence=pick((0.92, 0.92, None, 0.5)),
        late_ms=pick((0, 0, 0, 300, 900)),
        tells_words=u() < 0.3,
    )


def _act(chance: Random) -> Act:
    pick, u = chance.choice, chance.random
    when: Any = pick(("after agent", "into", "into", "after me", "at"))
    ms = round({"after agent": 900, "into": 1800, "after me": 700, "at": 4000}[when] * u())
    kind = u()
    if kind < 0.12:
        return Act(when, ms, press="".join(pick("0123456789*#") for _ in range(pick((1, 1, 4)))))
    if kind < 0.32:
        return Act(when, ms, sound_ms=pick((60, 120, 240, 500, 1600)))
    if kind < 0.37:
        return Act(when, ms, hang_up=True)
    text = pick(SAYINGS)
    return Act(when, ms, say=text, sound_ms=240 + 200 * len(text.split()))


def _fault(chance: Random) -> Fault:
    pick, u = chance.choice, chance.random
    if u() < 0.35:
        return Fault(pick(WHOLE_KINDS))
    kind = pick(MOMENT_KINDS)
    more: float = 0.0
    if kind == "F26 stall":
        more = pick((120, 600, 2500))
    elif kind == "F28 back-pressure":
        more = pick((400, 1500, 6000))
    elif kind == "F29 step crashes":
        more = pick((1, 1, 2, 3))
    elif kind == "F10 burst":
        more = pick((2000, 30_000))
    return Fault(kind, round(7000 * u()), more)
