"""The tools of one agent, by name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from itertools import count
from pathlib import Path
from types import CodeType
from typing import Any

from actors.tools.port import BadArguments, Caller, Tool, ToolContext
from actors.tools.runner import ToolRunner
from actors.tools.typed import MARK
from engine.errors import BadSettings
from engine.ledger import MOST_NAME_CHARS
from engine.tools import NO_TOOL, ToolResult, ToolSpec, toolbox_faults

_VERSIONS = count(1)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one agent, by name. Immutable: a live call keeps the one that it began with."""

    tools: Mapping[str, Tool] = field(default_factory=dict)

    @classmethod
    def of(cls, *groups: Iterable[Tool]) -> Toolbox:
        """All these tools together.

        Raises:
            BadSettings: two of one name, or an `undo` that names none.
        """
        tools = [tool for group in groups for tool in group]
        for fault in toolbox_faults(tool.spec for tool in tools):
            raise BadSettings(fault)
        return cls({tool.spec.name: tool for tool in tools})

    @classmethod
    def from_file(cls, path: Path) -> Toolbox:
        """The functions marked with `@tool` in a Python file.

        Raises:
            BadSettings: the file is not there, does not run, or marks nothing; the message names the line.
        """
        tools: dict[str, Tool] = {}
        for tool in functions_of(path):  # an `undo` may be in another file
            if tool.spec.name in tools:
                raise BadSettings(f"{path}: there are two tools named {tool.spec.name}: rename one")
            tools[tool.spec.name] = tool
        return cls(tools)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(one.spec for one in self.tools.values())

    def unknown(self, name: str) -> str:
        """What the model is told that asked for a tool that is not here."""
        known = ", ".join(spec.name for spec in self.specs if not spec.hidden) or "none"
        return NO_TOOL.format(name=" ".join(name[:MOST_NAME_CHARS].split()), known=known)

    async def run(self, tool_call_id: str, name: str, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        """Try a tool without a call: for tests of tools, and for a look at what it answers. Nothing is journaled."""
        known = self.tools.get(name)
        if known is None:
            return ToolResult(tool_call_id, name, self.unknown(name), ok=False)
        try:
            fitting = known.fit(arguments)
        except BadArguments as misfit:
            return ToolResult(tool_call_id, name, misfits(name, misfit), ok=False)
        outcome = await ToolRunner().run(known, fitting, ToolContext(caller, tool_call_id, f"try-{tool_call_id}"))
        return outcome.result(tool_call_id, name, 0.0)


def misfits(name: str, misfit: BadArguments) -> str:
    """What the model is told of arguments that do not fit."""
    return f"The arguments of {name} do not fit: {' '.join(str(misfit)[:500].split())}"


class _Fresh(SourceFileLoader):
    """Never from a cache: there a file that was written twice within a second may be its older self."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def functions_of(path: Path) -> list[Tool]:
    """The functions marked with `@tool` in a Python file, which is run for it.

    Raises:
        BadSettings: the file is not there, does not run, or marks nothing.
    """
    name = f"callscope_tools_{path.parent.name}_{next(_VERSIONS)}"  # two versions live side by side
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    if spec is None or spec.loader is None or not path.is_file():
        raise BadSettings(f"tools file {path} is not there: put it beside the agent file, or correct `tools:`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and get_type_hints look their module up by name
    try:
        spec.loader.exec_module(module)
    except BadSettings as problem:
        raise BadSettings(f"{path}: {problem}") from problem
    except Exception as problem:
        raise BadSettings(f"tools file {path} does not run: {type(problem).__name__}: {problem}") from problem
    found = [getattr(thing, MARK) for thing in vars(module).values() if hasattr(thing, MARK)]
    if not found:
        raise BadSettings(f"tools file {path} has no function marked with @tool")
    return found
