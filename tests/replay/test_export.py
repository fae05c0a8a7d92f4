"""A call becomes a scenario: readable by the reader of scenarios, and without a digit of anybody's."""

from __future__ import annotations

import re

import yaml

from actors.export import scenario_of
from engine.masking import masked_text, masked_value
from engine.scenario import Scenario, file_data
from tests.replay.test_replay import journals


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


def test_what_can_be_known_to_be_personal_is_masked() -> None:
    """A card's number and a mail address are nobody else's business."""
    assert masked_text("it is 4111 for ann.lee@example.org") == "it is 0000 for name@example.com"
    assert masked_value({"a": ["call 911"], "n": 3}) == {"a": ["call 000"], "n": 3}
