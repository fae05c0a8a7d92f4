"""`callscope check`: is this agent file one that Callscope can run?"""

from __future__ import annotations

from pathlib import Path

from web.agents import example, load_agent


def check(agent: Path | None = None, /) -> None:
    """Check an agent file and its tools; exit 2 and say what to put right if something is wrong.

    Parameters
    ----------
    agent
        The agent file, or its folder; the bistro example when left out.
    """
    loaded = load_agent(agent or example())
    names = ", ".join(loaded.toolbox.tools) or "none"
    print(f"{loaded.path}: agent {loaded.agent.name!r} is fine; tools: {names}")
