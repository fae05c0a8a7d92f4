"""What the storm leaves of a failure can be played by somebody who knows nothing of the storm."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.bridge import Bridge
from actors.storm import actor_level, plan_file
from actors.storm.as_scenario import as_scenario
from actors.storm.coverage import Coverage
from actors.storm.plan import StormPlan, plan_of
from actors.storm.shrinking import shrink, smaller_plans
from web.scenario_file import load_scenario, read_scenario, write_scenario
from web.scenario_play import play_path
from web.storm_folder import PLAN, write_folder


def smallest_of(seeds: range) -> actor_level.LivedPlan:
    """The first of these seeds that breaks a law, shrunk."""
    broken = next(filter(None, (actor_level.live(seed, Coverage()) for seed in seeds)))

    def fails(plan: StormPlan) -> bool:
        again = actor_level.live_plan(plan, Coverage()).broken
        return again is not None and again.law == broken.law

    return actor_level.live_plan(shrink(broken.plan, smaller_plans, fails, tries=120), Coverage())


@pytest.mark.parametrize("first", [0, 3, 12])
def test_a_planted_bug_becomes_a_scenario_that_fails_with_it_alone(first: int, tmp_path: Path) -> None:
    """An agent that is not ended goes on and costs money: the file shows it, and is content once it is mended."""
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(Bridge, "end_agent", lambda self: None)
        path, shows_it = write_folder(tmp_path / "storm", smallest_of(range(first, first + 30)))
        assert shows_it
        _, with_it = play_path(path)
    assert any("told vapi: end-call" in one.expected for one in with_it.failures)
    _, without = play_path(path)
    assert without.ok, [(one.expected, one.happened) for one in without.failures]
    assert isinstance(plan_file.read(path.with_name(PLAN)), StormPlan)


def _drop(self: Bridge, reason: str, words: str = "", *, guard_s: float | None = 0.0) -> None:
    pass  # what the caller cut into goes on


@pytest.mark.parametrize("first", [4, 15])
def test_words_that_come_after_they_were_cut_are_named(first: int, tmp_path: Path) -> None:
    """What the caller cut off is heard later: the file names the words, and does not hear them once it is mended."""
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(Bridge, "drop", _drop)
        path, shows_it = write_folder(tmp_path / "storm", smallest_of(range(first, first + 10)))
        assert shows_it
        _, with_it = play_path(path)
    assert [one.expected.partition(":")[0] for one in with_it.failures] == ["not heard"]
    _, without = play_path(path)
    assert without.ok, [(one.expected, one.happened) for one in without.failures]


def test_what_a_scenario_cannot_say_is_told() -> None:
    """Who reads the file knows what of the failing call is not in it."""
    plan = next(one for one in map(plan_of, range(200)) if any(f.kind == "F26 stall" for f in one.calls[0].faults))
    made = as_scenario(plan, law="I9 a call is small", what="a test")
    assert any(line.startswith("F26 stall at") for line in made.left_out)
    assert any("has no word in a scenario" in line for line in made.left_out)


def test_every_plan_can_be_written_as_a_scenario(tmp_path: Path) -> None:
    """Whatever the storm makes up, the file that it would leave can be read."""
    for seed in range(100):
        made = as_scenario(plan_of(seed), law="I7 never nothing", what="a test", closed_ms=1000.0)
        reading = read_scenario(write_scenario(made.scenario))
        assert reading.faults == [], seed


@pytest.mark.parametrize("seed", [0, 5, 11, 37])
def test_its_agent_and_tools_can_be_loaded(seed: int, tmp_path: Path) -> None:
    """The folder has all that the scenario needs."""
    lived = actor_level.live_plan(plan_of(seed), Coverage())
    lived.broken = actor_level.BrokenPlan(lived.plan, "I7 never nothing", 1.0, "a test")
    path, _ = write_folder(tmp_path / "storm", lived)
    assert set(load_scenario(path).loaded.toolbox.tools) == {tool.name for tool in lived.plan.tools}
