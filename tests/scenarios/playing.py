"""Scenarios for tests: an agent of a few lines, its tools, and one call played from YAML text."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from actors.scenario import Outcome
from engine.errors import BadSettings
from web.scenario_file import ScenarioFile, load_scenario
from web.scenario_play import play_file

ROOT = Path(__file__).parents[2]
BISTRO = ROOT / "specs" / "scenarios" / "bistro"

AGENT = """\
name: desk
tools: tools.py
assistant: {firstMessage: Good evening this is the desk how may I help you today}
twin:
  replies:
    - {hear: [a table], say: We have one at six and at seven and at eight and at nine which one would you like}
    - {hear: [eight], say: "Good news {result} anything else", tool: {name: look, arguments: {party: 2}}}
    - {hear: [book], say: "Done {result}", tool: {name: book, arguments: {party: 2}}}
    - {hear: [bye], say: Goodbye, end: true}
"""
TOOLS = '''\
"""A desk's tools."""
import trio
from actors.tools import ToolProblem, tool

@tool(effect="read")
async def look(party: int) -> str:
    """Look."""
    await trio.sleep(0.3)
    return "there is a table"

@tool(effect="commit")
async def book(party: int) -> str:
    """Book."""
    return "it is yours"
'''
ASKS = """\
caller:
  - says: a table please
  - coughs:
    into: 1500ms
  - cuts in: eight works
    into: 2s
  - says: bye
"""


def desk(folder: Path, agent: str = AGENT, tools: str = TOOLS) -> Path:
    """A folder with an agent in it."""
    (folder / "agent.yaml").write_text(agent, encoding="utf-8")
    (folder / "tools.py").write_text(tools, encoding="utf-8")
    return folder


def written(folder: Path, text: str, name: str = "one") -> Path:
    """A scenario file beside the agent."""
    path = folder / f"{name}.scenario.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> ScenarioFile:
    return load_scenario(written(folder, text))


def played(folder: Path, text: str, *, seed: int | None = None) -> Outcome:
    return play_file(loaded(folder, text), seed=seed)


def faults(folder: Path, text: str) -> list[str]:
    """What is said about a file, a line each, without its path."""
    path = written(folder, text)
    try:
        load_scenario(path)
    except BadSettings as problem:
        lines = str(problem).splitlines()
        return [line.removeprefix(f"{path}:") for line in lines if "faults in" not in line]
    return []
