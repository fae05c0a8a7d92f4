"""Policies from the whole space of the agent file, by chance. What `callscope check` refuses is not made."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import Any

from engine.agent import Agent, agent_from
from engine.call import Policy
from engine.lines import KINDS

POOL = 61  # a prime: policies and the other choices of a seed do not go hand in hand
FALLBACK = {"words": "Sorry, please call again.", "number": "+15550100"}


def agent_file(chance: Random) -> dict[str, Any]:
    """The keys of an agent file. Mostly the defaults, so that what differs can matter."""

    def some(**keys: Any) -> dict[str, Any]:
        return {name: value for name, value in keys.items() if chance.random() < _GIVEN}

    pick = chance.choice
    turns = some(
        hold=pick((True, True, False)),
        min_speech_ms=pick((0, 80, 160, 400)),
        confirm_ms=pick((0, 300, 900, 1400)),
        longest_hold_ms=pick((1500, 2500, 6000)),
        debounce_ms=pick((0, 40, 300, 800)),
        partial_chars=pick((0, 3, 12)),
        confidence=pick((0.0, 0.7, 1.0)),
        stale_ms=pick((100, 2000)),
        interrupt_on=pick(("partials", "finals")),
        act_on=pick(("finals", "partials")),
        keywords=pick(({"words": ["operator"]}, {"words": ["stop"], "hours": "21:00-07:00"})),
        echo_guard=pick((True, False)),
        longest_caller_s=pick((0, 2, 60)),
        uninterruptible=pick(((), ("terms",), ("seven",))),
        interruptible_goodbye=pick((True, False)),
        heard=pick(("truncate", "keep", "again")),
        tell_heard=pick((True, False)),
    )
    silence = some(
        fillers=pick(("clips", "clips", "vapi", "off")),
        filler_after_ms=pick((0, 500, 1200)),
        progress_after_ms=pick((500, 1500)),
        unheard_after_ms=pick((400, 1400)),
        give_up_s=pick((2.0, 8.0)),
        idle_prompts_s=pick(((), (3.0,), (4.0, 7.0))),
    )
    keys = some(between_ms=pick((100, 600, 2000)), end=pick(("", "#", "*")), most=pick((1, 4, 32)))
    limits = some(idle_s=pick((5.0, 12.0, 60.0)), max_duration_s=pick((4.0, 20.0, 600.0)))
    assistant = some(
        firstMessageMode=pick(("assistant-speaks-first", "assistant-waits-for-user")),
        firstMessageInterruptionsEnabled=pick((True, False)),
    )
    return {
        "name": "storm", "assistant": assistant, "fallback": FALLBACK, "turns": turns, "silence": silence,
        "digits": keys, "limits": limits,
    }  # fmt: skip


_GIVEN = 0.25  # so often a key is given at all


@lru_cache(maxsize=2 * POOL)
def agent_of(number: int) -> Agent:
    """The n-th agent; the first is all defaults."""
    keys = agent_file(Random(f"agent/{number}")) if number else {"name": "storm", "assistant": {}, "fallback": FALLBACK}  # noqa: S311
    return agent_from(keys)


@lru_cache(maxsize=2 * POOL)
def policy_of(number: int) -> Policy:
    """The n-th policy, as a call of that agent would have it; a few have no voice for our own lines."""
    agent = agent_of(number)
    lines = () if number % 10 == 9 else tuple(sorted(KINDS))
    if agent.silence.fillers == "off":
        lines = tuple(kind for kind in lines if kind not in ("filler", "progress", "unheard"))
    return Policy.of(agent, lines=lines, local_minutes=number * 37 % 1440)
