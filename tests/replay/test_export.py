"""A call becomes a scenario: readable by the reader of scenarios, without a digit of anybody's, and it plays again."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from actors.export import scenario_of
from engine.journal import Record, decode, encode
from engine.masking import masked_text, masked_value
from engine.scenario import Scenario, file_data
from tests.replay.test_replay import journals
from web.scenario_file import read_scenario
from web.scenario_play import play_path
from web.scenario_text import scenario_text

SPECS = Path(__file__).parents[2] / "specs"
BISTRO = SPECS / "agents" / "bistro"


def test_every_call_becomes_a_scenario() -> None:
    """What was said, asked and decided is in the file, each in the words of a scenario."""
    for records in journals():
        scenario = scenario_of(records, agent="../agent.yaml")
        assert isinstance(scenario, Scenario)
        data = yaml.safe_load(yaml.safe_dump(file_data(scenario)))
        assert data["expect"][0]["phases"][0] == "connecting"
        told = str(data["caller"]) + str(data["vapi"])
        assert "+1555" not in told
        keys = re.findall(r"'presses': '([^']*)'", told)
        assert all(key in "0*#" for key in keys)


def test_every_exported_file_can_be_read() -> None:
    """Nobody has to mend an exported file before `callscope test` takes it."""
    for records in journals():
        assert read_scenario(scenario_text(records)).faults == []


def test_what_can_be_known_to_be_personal_is_masked() -> None:
    """A card's number and a mail address are nobody else's business."""
    assert masked_text("it is 4111 for ann.lee@example.org") == "it is 0000 for name@example.com"
    assert masked_value({"a": ["call 911"], "n": 3}) == {"a": ["call 000"], "n": 3}


def lived(name: str) -> list[Record]:
    """The journal of a call with the bistro, as it would be read from a disk."""
    _, outcome = play_path(SPECS / "scenarios" / "bistro" / f"{name}.scenario.yaml")
    assert outcome.story is not None
    return [decode(encode(record)) for record in outcome.story.records]


# Not "jitter": an exported call has no bad line, on which one pause more or less is a phase more or less.
@pytest.mark.parametrize(
    "name",
    ["happy-path", "cut-in", "double-cut-in", "cough", "hangs-up-mid-tool", "tool-hangs", "silent-caller", "keys",
     "vapi-drops", "vapi-refuses", "cable-cut"],
)  # fmt: skip
def test_an_exported_call_goes_the_same_way_again(name: str, tmp_path: Path) -> None:
    """Booked, cut off, coughed at, or left while a table is looked up: played again, the call has the same phases."""
    records = lived(name)
    path = tmp_path / "again.scenario.yaml"
    path.write_text(scenario_text(records, agent=str(BISTRO)), encoding="utf-8")
    _, again = play_path(path)
    assert again.story is not None
    assert [finding for finding in again.findings if not finding.ok] == []
    assert not again.trouble
    then = [record.name for record in records if record.kind == "phase"]
    assert again.story.phases()[1:] == then


def test_the_process_may_have_lived_long_before_the_call(tmp_path: Path) -> None:
    """The clock of a service that ran for an hour does not move the caller's words."""
    records = lived("cut-in")
    hour = 3600.0
    moved = [msgspec.structs.replace(one, data=_later(one.data, hour)) for one in records]
    assert scenario_of(moved) == scenario_of(records)


def _later(data: dict[str, object], by_s: float) -> dict[str, object]:
    clocks = ("opened_at_s", "onset_at")
    return {key: value + by_s if key in clocks and isinstance(value, float) else value for key, value in data.items()}
