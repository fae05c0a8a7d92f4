"""The storm itself: quiet on what is right, loud on what is broken, the same for the same seed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.bridge import Bridge
from actors.call_actor import CallActor
from actors.storm import actor_level, engine_level, plan_file
from actors.storm.coverage import Coverage
from actors.storm.plan import StormPlan, plan_of
from actors.storm.shrinking import shrink, shrink_facts, smaller_plans
from actors.storm.storm import run
from engine import call as engine_call
from engine import events as e
from engine.call import Call

NOTES: dict[Any, Any] = engine_call._NOTES
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.slow
def test_fifty_thousand_lives_of_the_engine() -> None:
    """Whatever a caller, a carrier and an agent do: every law holds."""
    found = run("engine", 50_000)
    assert found.violations == []
    assert found.coverage.rules_fired >= 270


@pytest.mark.slow
def test_two_thousand_calls_on_real_actors() -> None:
    """Thirty faults at any moment: nobody is left in silence, doubled, or forgotten."""
    found = run("actors", 2000)
    assert found.violations == []
    assert len(found.coverage.faults) > 80


def test_the_same_seed_is_the_same_call() -> None:
    """A failure can be looked at again: another process, another hash seed, the same milliseconds."""
    here = [actor_level.live_plan(plan_of(seed), Coverage()).trace() for seed in (3, 12, 46)]
    code = (
        "from actors.storm import actor_level as a; from actors.storm.coverage import Coverage; "
        "print([a.live_plan(a.plan_of(s), Coverage()).trace() for s in (3, 12, 46)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77"},
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == str(here)


# --- planted bugs: how many seeds until one is found -----------------------------------------------------------------


def _waits_for_a_dropped_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_call, "_lost_line", lambda call, event: {})
    monkeypatch.setitem(NOTES, e.SpeechOverdue, lambda call, event: {})


def _words_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def stays(call: Call) -> dict[str, Any]:
        return {"reason": ""}

    monkeypatch.setattr(engine_call, "_stays", stays)


def _lets_the_agent_talk_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NOTES, e.DebouncePassed, lambda call, event: {"held_at": event.at, "dropped": False})


@pytest.mark.parametrize(
    ("plant", "within"),
    [(_waits_for_a_dropped_line, 3000), (_words_after_the_end, 300), (_lets_the_agent_talk_on, 100)],
    ids=lambda one: one.__name__.strip("_") if callable(one) else str(one),
)
def test_the_engines_storm_finds_planted_bugs(plant: Plant, within: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that is wrong is found within so many seeds, and its smallest plan is short."""
    plant(monkeypatch)
    broken = next(filter(None, (engine_level.live(seed, Coverage()) for seed in range(within))), None)
    assert broken is not None, f"not within {within} seeds"
    smallest = shrink_facts(broken)
    assert smallest.law == broken.law
    assert len(smallest.plan.facts) <= len(broken.plan.facts)


def _no_line_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bridge, "close_line", lambda self: None)


def _the_agent_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bridge, "end_agent", lambda self: None)


def _a_drop_is_a_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(self: Bridge, reason: str, words: str = "", *, guard_s: float | None = 0.0) -> None:
        pass  # what the caller cut into goes on

    monkeypatch.setattr(Bridge, "drop", drop)


def _reports_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(self: CallActor, ended_reason: str) -> bool:
        self.post(e.ReportArrived(at=0.0, ended_reason=ended_reason))
        return True

    monkeypatch.setattr(CallActor, "report", report)


@pytest.mark.parametrize(
    ("plant", "within"),
    [(_no_line_is_closed, 30), (_the_agent_is_not_ended, 30), (_a_drop_is_a_hold, 60), (_reports_count_twice, 150)],
    ids=lambda one: one.__name__.strip("_") if callable(one) else str(one),
)
def test_the_actors_storm_finds_planted_bugs(plant: Plant, within: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that forgets something is found within so many seeds."""
    plant(monkeypatch)
    found = next(filter(None, (actor_level.live(seed, Coverage()) for seed in range(within))), None)
    assert found is not None, f"not within {within} seeds"


def test_the_smallest_plan_has_nothing_in_it_that_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is left of a failing call is what a person must look at; the file brings it back."""
    _the_agent_is_not_ended(monkeypatch)
    broken = next(filter(None, (actor_level.live(seed, Coverage()) for seed in range(30))))

    def fails(plan: StormPlan) -> bool:
        again = actor_level.live_plan(plan, Coverage()).broken
        return again is not None and again.law == broken.law

    smallest = shrink(broken.plan, smaller_plans, fails, tries=200)
    assert sum(len(call.faults) + len(call.acts) for call in smallest.calls) <= 1
    plan_file.write(tmp_path / "x.yaml", smallest, why="a test")
    assert plan_file.read(tmp_path / "x.yaml") == smallest


def test_an_engines_plan_survives_its_file(tmp_path: Path) -> None:
    """The facts of a life are the same after they were written down."""
    plan = engine_level.plan_of(11)
    plan_file.write(tmp_path / "x.yaml", plan, why="a test")
    assert plan_file.read(tmp_path / "x.yaml") == plan


def test_a_call_that_turns_on_the_spot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that is over again at once would keep a call busy for ever."""
    monkeypatch.setitem(NOTES, e.FillerDue, lambda call, event: {"said": {"filler": 1}})
    broken = next(filter(None, (engine_level.live(seed, Coverage()) for seed in range(200))))
    assert "on the spot" in broken.what
