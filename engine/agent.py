"""The agent file, typed: everything that makes one phone agent, in one YAML file. Pure: `web.agents` reads it.

Unknown keys are errors: a misspelt policy must not be a silent default.
"""

from __future__ import annotations

from typing import Any

import msgspec


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Fallback(_Strict, frozen=True):
    """What the caller gets when the voice AI is not to be had."""

    words: str = "Sorry, we have a technical problem. Please call again in a few minutes. Goodbye."
    number: str | None = None  # E.164; dialled after the words; without it the call ends after them


class Limits(_Strict, frozen=True):
    max_duration_s: float = 600.0
    idle_s: float = 60.0  # nobody says anything for so long: the call ends with words
    concurrent_calls: int = 500


class Turns(_Strict, frozen=True):
    """When the caller is taken to speak. Each meaning in one line; more to come with turn-taking proper."""

    debounce_ms: int = 300  # quiet after an interruption before the agent may be heard again
    voice_ms: int = 40  # so much voiced audio while the agent speaks is a barge-in
    partial_chars: int = 3  # a partial transcript of so many characters is a barge-in


class ToolCallPlan(_Strict, frozen=True):
    """What the twin's brain asks of a tool."""

    name: str
    arguments: dict[str, Any] = {}


class Reply(_Strict, frozen=True):
    """One line of the twin's scripted brain: when one of these was heard, do this.

    `hear` phrases and `say` may hold `<digits>` and `{digits}`: the digits that the caller spoke. `say` may hold
    `{result}`: what the tool answered. The first unused reply whose phrase fits wins, then used ones.
    """

    hear: list[str]
    say: str
    tool: ToolCallPlan | None = None
    before_tool: str = ""  # said while the tool runs
    end: bool = False  # hang up after saying it


class CallerStep(_Strict, frozen=True):
    """One thing that a scripted caller does. Exactly one of say, dtmf, pause_ms, hang_up, wait_for_end is set.

    `after="agent"`: once the agent has spoken and then been quiet for 900 ms. `after="now"`: at once.
    `barge_in_ms`: so long after the agent's next speech began, while it still speaks.
    """

    say: str = ""
    dtmf: str = ""
    pause_ms: int = 0
    hang_up: bool = False
    wait_for_end: bool = False
    after: str = "agent"
    barge_in_ms: int | None = None


class TwinPlan(_Strict, frozen=True):
    """What the offline twins hear, say and do for this agent. Production never reads it."""

    replies: list[Reply] = []
    not_understood: str = "Sorry, I did not catch that. Could you say it again?"
    caller: list[CallerStep] = []  # the scripted caller of `callscope demo`
    agreed_words: dict[str, list[str]] = {}  # per channel (caller, agent): what a recogniser must find after the demo


class Agent(_Strict, frozen=True):
    """One phone agent."""

    name: str
    assistant: dict[str, Any] | None = None  # CreateAssistantDTO (reference/vapi.md §11) without tools, or …
    assistant_id: str | None = None  # … the id of one that exists
    tools: str | None = None  # a Python file beside this one, with functions marked @tool
    fallback: Fallback = Fallback()
    limits: Limits = Limits()
    turns: Turns = Turns()
    twin: TwinPlan = TwinPlan()


def agent_from(data: object) -> Agent:
    """The typed agent from what YAML gave.

    Raises:
        msgspec.ValidationError: names the path of what does not fit.
    """
    agent = msgspec.convert(data, Agent)
    if agent.assistant is not None and agent.assistant_id is not None:
        raise msgspec.ValidationError("give `assistant` or `assistant_id`, not both - at `$`")
    return agent
