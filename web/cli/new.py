"""`callscope new`: a folder with an agent that talks, a tool, and a scenario that passes."""

from __future__ import annotations

from pathlib import Path

from web.scaffold import make_agent


def new(folder: Path, /) -> None:
    """Make a new agent: its file, one tool, one passing scenario, and the schema for your editor.

    Parameters
    ----------
    folder
        Where; the last part is the agent's name: small letters, digits and hyphens.
    """
    made = make_agent(folder)
    for path in made:
        print(f"  {folder / path.relative_to(folder.absolute())}")
    print(
        f"\n{folder.name} is there. Next:\n"
        f"  callscope demo {folder}             talk to it: no account, key or network\n"
        f"  callscope test {folder / 'scenarios'}   its first scenario, in milliseconds\n"
        f"  callscope check {folder}            what is wrong or unwise in its file"
    )
