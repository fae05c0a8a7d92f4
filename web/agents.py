"""Reads agent files: YAML in, the typed agent and its tools out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from actors.tools import Tool, Toolbox
from actors.tools.builtin import builtin_tools
from actors.tools.http import RequestTool
from actors.tools.mcp import McpLine, RemoteTool, need_mcp
from actors.tools.ways_out import WaysOut
from engine.agent import Agent, agent_from
from engine.builtin_tools import Builtins
from engine.errors import BadSettings
from engine.tools import toolbox_faults
from web.agent_env import agent_environment
from web.agent_problems import Fault, Reading, read
from web.agent_rules import find_contradictions, http_tools_of, mcp_servers_of

_ROOT = Path(__file__).parent.parent
_EXAMPLES = (_ROOT / "specs" / "agents", Path(__file__).parent / "examples")  # a checkout, an installed wheel


@dataclass(frozen=True)
class LoadedAgent:
    """An agent with what its file stands beside."""

    agent: Agent
    toolbox: Toolbox = field(repr=False)
    path: Path
    ways_out: WaysOut = field(default_factory=WaysOut, repr=False)  # of its tools: who runs calls opens it

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that it was read from: itself, its tools, its clips."""
        beside = (*self.agent.tools_files, *self.agent.silence.files.values())
        return (self.path, *(self.path.parent / name for name in dict.fromkeys(beside)))


@dataclass(frozen=True)
class Inspected:
    """An agent file with all that is wrong with it."""

    path: Path
    reading: Reading
    toolbox: Toolbox
    ways_out: WaysOut = field(default_factory=WaysOut)

    @property
    def faults(self) -> list[Fault]:
        return sorted(self.reading.faults)


def example(name: str = "bistro") -> Path:
    """The agent file of an example that comes with Callscope."""
    for folder in _EXAMPLES:
        path = folder / name / "agent.yaml"
        if path.is_file():
            return path
    raise BadSettings(f"the example agent {name!r} is not installed; name an agent file with --agent")


def load_agent(path: Path, env: Mapping[str, str] | None = None, *, ways_out: WaysOut | None = None) -> LoadedAgent:
    """The agent that a file describes.

    Args:
        env: what its `${…}` may name; the process's environment and `.env` when left out.
        ways_out: of its HTTP and MCP tools. A file read anew in a running service takes the open ones.

    Raises:
        BadSettings: no such file, no YAML, unknown keys, impossible values, wrong types: all of them, a line each, with
            file, line, column, and what to do.
    """
    return loaded(inspect_agent(path, env, ways_out=ways_out))


def loaded(found: Inspected) -> LoadedAgent:
    """The agent, if nothing is wrong with it.

    Raises:
        BadSettings: something is.
    """
    path = found.path
    if found.faults:
        told = [f"{path}:{fault}" for fault in found.faults]
        raise BadSettings("\n".join([f"{len(told)} faults in {path}:", *told] if len(told) > 1 else told))
    try:
        agent = agent_from(found.reading.data)
    except msgspec.ValidationError as problem:
        raise BadSettings(f"agent file {path}: {problem}") from problem
    return LoadedAgent(agent, found.toolbox, path, found.ways_out)


def inspect_agent(path: Path, env: Mapping[str, str] | None = None, *, ways_out: WaysOut | None = None) -> Inspected:
    """Read an agent file with its tools, and find all that is wrong.

    Raises:
        BadSettings: there is no such file.
    """
    if path.is_dir():
        path = path / "agent.yaml"
    try:
        reading = read(path.read_text(encoding="utf-8"), agent_environment(path.parent) if env is None else env)
    except OSError as problem:
        raise BadSettings(f"agent file {path} cannot be read ({problem.strerror}); name one with --agent") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        return Inspected(path, Reading(faults=[_not_yaml(problem)]), Toolbox())
    find_contradictions(reading, path.parent)
    ways_out = ways_out or WaysOut()
    return Inspected(path, reading, _toolbox(reading, path, ways_out), ways_out)


def _toolbox(reading: Reading, path: Path, ways_out: WaysOut) -> Toolbox:
    """The agent's tools; what is wrong with them is one of the file's faults."""
    named = (reading.data or {}).get("tools")
    found: dict[str, Any] = {}
    for index, name in enumerate([named] if isinstance(named, str) else named or []):
        at = "$.tools" if isinstance(named, str) else f"$.tools[{index}]"
        try:
            more = Toolbox.from_file(path.parent / name).tools
        except BadSettings as problem:
            reading.complain_of((at,), str(problem))
            continue
        for twice in sorted(found.keys() & more.keys()):
            reading.complain_of((at,), f"{name}: the tool {twice!r} is in an earlier file too; a name means one tool")
        found |= more
    places: dict[str, str] = {}
    for at, tool in (*_builtins(reading), *_http_tools(reading, ways_out), *_mcp_tools(reading, path, ways_out)):
        if tool.spec.name in found:
            reading.complain_of((at,), f"there is another tool `{tool.spec.name}`; a name means one tool")
        found[tool.spec.name] = tool
        places[tool.spec.name] = at
    for fault in toolbox_faults(tool.spec for tool in found.values()):
        at = places.get(fault.removeprefix("tool ").split(":")[0], "$.tools")
        reading.complain_of((f"{at}.undo", at), fault)
    return Toolbox(found)


def _builtins(reading: Reading) -> Iterator[tuple[str, Tool]]:
    """The built-in tools; a wrong key of theirs is complained of by type already."""
    try:
        builtins = msgspec.convert((reading.data or {}).get("builtins") or {}, Builtins)
    except msgspec.ValidationError:
        return
    for tool in builtin_tools(builtins):
        yield "$.builtins", tool


def _http_tools(reading: Reading, ways_out: WaysOut) -> Iterator[tuple[str, Tool]]:
    for name, plan in http_tools_of(reading).items():
        at = f"$.http_tools.{name}"
        try:
            yield at, RequestTool(name, plan, ways_out.http)
        except BadSettings as problem:
            reading.complain_of((f"{at}.url",), str(problem))


def _mcp_tools(reading: Reading, path: Path, ways_out: WaysOut) -> Iterator[tuple[str, Tool]]:
    servers = mcp_servers_of(reading)
    if not servers:
        return
    try:
        need_mcp()
    except BadSettings as problem:
        reading.complain_of(("$.mcp",), str(problem))
    for name, plan in servers.items():
        line = McpLine(name, plan, path.parent.absolute(), ways_out.mcp)
        for tool, its_plan in plan.tools.items():
            yield f"$.mcp.{name}.tools.{tool}", RemoteTool(tool, its_plan, line)


def _not_yaml(problem: yaml.YAMLError | UnicodeDecodeError) -> Fault:
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark:
        mark = problem.problem_mark
        why = ", ".join(filter(None, (problem.context, problem.problem)))
        return Fault(mark.line + 1, mark.column + 1, "$", f"this is not YAML: {why}")
    return Fault(1, 1, "$", f"this is not YAML: {str(problem).splitlines()[0]}")
