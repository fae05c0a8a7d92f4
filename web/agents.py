"""Reads agent files: YAML in, the typed agent and its tools out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from actors.tools import Toolbox
from engine.agent import Agent, agent_from
from engine.errors import BadSettings

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
        BadSettings: no such file, no YAML, an unknown key, a wrong type: with the place and what to do.
    """
    if path.is_dir():
        path = path / "agent.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadSettings(f"agent file {path} cannot be read ({problem.strerror}); name one with --agent") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BadSettings(f"agent file {path} is not YAML: {problem}") from problem
    try:
        agent = agent_from(data)
    except msgspec.ValidationError as problem:
        raise BadSettings(f"agent file {path}: {problem}") from problem
    toolbox = Toolbox.from_file(path.parent / agent.tools) if agent.tools else Toolbox()
    return LoadedAgent(agent, toolbox, path)
