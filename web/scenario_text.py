"""A call that was, as the text of a scenario file; personal data masked (`actors.export` says what that can mean)."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from actors.export import MASKED, scenario_of
from engine.journal import Record
from engine.scenario import file_data

__all__ = ["scenario_text"]


def scenario_text(records: Sequence[Record], *, agent: str = "") -> str:
    """YAML for `callscope test`. `agent`: the path of the agent file, from where the scenario will be."""
    told = file_data(scenario_of(records, agent=agent))
    return f"# masked: {MASKED}\n" + yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=110)
