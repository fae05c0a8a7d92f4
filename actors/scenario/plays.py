"""The tools of a scenario: the agent's own, in virtual time, or answers that the file gives instead of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from actors.scenario.virtual_time import NotInVirtualTime, guarded
from actors.tools import Tool, Toolbox, ToolContext, ToolProblem
from engine.scenario import Answers, Crashes, Fails, Hangs, Real, ToolPlay
from engine.tools import ToolEffect, ToolSpec

_REMOTE = ("actors.tools.http", "actors.tools.mcp")


class ToolCrash(Exception):
    """What a tool raises that the file lets crash."""


@dataclass
class ToolRuns:
    """What really ran, and what should not have."""

    by_arguments: Counter[tuple[str, str]] = field(default_factory=Counter)  # (name, arguments as JSON) → how often
    refused: dict[str, str] = field(default_factory=dict)  # tool → what it did that virtual time cannot have
    changing: set[str] = field(default_factory=set)  # tools with an effect

    def note(self, name: str, arguments: Mapping[str, Any]) -> None:
        """An attempt begins."""
        self.by_arguments[name, json.dumps(arguments, sort_keys=True, default=str)] += 1

    def of(self, name: str) -> int:
        return sum(count for (ran, _), count in self.by_arguments.items() if ran == name)

    def doubled(self) -> list[str]:
        """Tools that did the same thing to the world more than once."""
        return sorted({name for (name, _), count in self.by_arguments.items() if count > 1 and name in self.changing})


def toolbox_for(toolbox: Toolbox, plays: Mapping[str, ToolPlay], runs: ToolRuns) -> Toolbox:
    """The agent's tools as the scenario wants them; their arguments, policies and time-outs stay their own."""
    runs.changing = {tool.spec.name for tool in toolbox.tools.values() if tool.spec.effect is not ToolEffect.READ}
    tools = {name: PlayedTool(tool, plays.get(name, Real()), runs) for name, tool in toolbox.tools.items()}
    return replace(toolbox, tools=tools)


def is_remote(tool: Tool) -> bool:
    """Whether running it is a request to somebody else: HTTP tools and tools of MCP servers."""
    return type(tool).__module__.startswith(_REMOTE)


class PlayedTool:
    """Fulfils `actors.tools.Tool` around a tool of the agent's."""

    def __init__(self, tool: Tool, play: ToolPlay, runs: ToolRuns) -> None:
        self._tool, self._play, self._runs = tool, play, runs

    def __getattr__(self, name: str) -> Any:
        """What a kind of tool knows of itself beside the protocol."""
        return getattr(self._tool, name)

    @property
    def spec(self) -> ToolSpec:
        return self._tool.spec

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._tool.fit(arguments)

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        self._runs.note(self.spec.name, arguments)
        await trio.sleep(getattr(self._play, "after_ms", 0.0) / 1000)
        match self._play:
            case Answers(answers=answer):
                return answer
            case Fails(fails=words):
                raise ToolProblem(words)
            case Crashes():
                raise ToolCrash("as the scenario wants it")
            case Hangs():
                await trio.sleep_forever()
        if is_remote(self._tool):
            self._refused("is a request over the network")
            raise NotInVirtualTime(f"{self.spec.name} is a request over the network")
        return await guarded(self._tool.attempt, self._refused, arguments, context)

    def _refused(self, what: str) -> None:
        self._runs.refused.setdefault(self.spec.name, what)
