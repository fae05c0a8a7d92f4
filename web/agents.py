"""Reads agent files: YAML in, the typed agent and its tools out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from actors.tools import Toolbox
from engine.agent import Agent, agent_from
from engine.errors import BadSettings
from web.agent_problems import Reading, read
from web.agent_rules import find_contradictions

_ROOT = Path(__file__).parent.parent
_EXAMPLES = (_ROOT / "specs" / "agents", Path(__file__).parent / "examples")  # a checkout, an installed wheel


@dataclass(frozen=True)
class LoadedAgent:
    """An agent with what its file stands beside."""

    agent: Agent
    toolbox: Toolbox
    path: Path


def example(name: str = "bistro") -> Path:
    """The agent file of an example that comes with Callscope."""
    for folder in _EXAMPLES:
        path = folder / name / "agent.yaml"
        if path.is_file():
            return path
    raise BadSettings(f"the example agent {name!r} is not installed; name an agent file with --agent")


def load_agent(path: Path) -> LoadedAgent:
    """The agent that a file describes.

    Raises:
        BadSettings: no such file, no YAML, unknown keys, impossible values, wrong types: all of them, a line each, with
            file, line, column, and what to do.
    """
    if path.is_dir():
        path = path / "agent.yaml"
    try:
        reading = read(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadSettings(f"agent file {path} cannot be read ({problem.strerror}); name one with --agent") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BadSettings(_not_yaml(path, problem)) from problem
    find_contradictions(reading, path.parent)
    toolbox = _toolbox(reading, path)
    if reading.faults:
        told = [f"{path}:{fault}" for fault in sorted(reading.faults)]
        raise BadSettings("\n".join([f"{len(told)} faults in {path}:", *told] if len(told) > 1 else told))
    try:
        agent = agent_from(reading.data)
    except msgspec.ValidationError as problem:
        raise BadSettings(f"agent file {path}: {problem}") from problem
    return LoadedAgent(agent, toolbox, path)


def _toolbox(reading: Reading, path: Path) -> Toolbox:
    """The agent's tools; what is wrong with them is one of the file's faults."""
    tools = (reading.data or {}).get("tools")
    if not tools:
        return Toolbox()
    try:
        return Toolbox.from_file(path.parent / tools)
    except BadSettings as problem:
        reading.complain_of(("$.tools",), str(problem))
        return Toolbox()


def _not_yaml(path: Path, problem: Exception) -> str:
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark:
        mark = problem.problem_mark
        why = ", ".join(filter(None, (problem.context, problem.problem)))
        return f"{path}:{mark.line + 1}:{mark.column + 1}: this is not YAML: {why}"
    return f"agent file {path} is not YAML: {problem}"
