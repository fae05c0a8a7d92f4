"""A call that was, as the text of a scenario file; personal data masked (`actors.export` says what that can mean)."""

from __future__ import annotations

from collections.abc import Sequence

from actors.export import MASKED, scenario_of
from engine.journal import Record
from web.scenario_file import write_scenario

__all__ = ["scenario_text"]


def scenario_text(records: Sequence[Record], *, agent: str = "") -> str:
    """YAML for `callscope test`. `agent`: the path of the agent file, from where the scenario will be."""
    return write_scenario(scenario_of(records, agent=agent), comment=f"masked: {MASKED}")
