"""Plays one scenario: a world in virtual time around the real actors, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from actors.ports import Plane, VapiCalls
from actors.scenario.expecting import Finding, judge_all
from actors.scenario.house import ScenarioHouse, Twiml
from actors.scenario.plan import call_plan, machine_ms, twin_plan
from actors.scenario.plays import ToolRuns, toolbox_for
from actors.scenario.story import Facts, Story
from actors.scenario.trace import trace_hash
from actors.scenario.virtual_time import only_virtual_time
from actors.tools import Toolbox
from actors.world.agent import Brain
from actors.world.house import House
from actors.world.words import numbered_lines
from actors.world.world import Lived, run_calls
from engine.agent import Agent, TwinPlan
from engine.lines import texts_of
from engine.scenario import Scenario

MakeBrain = Callable[[TwinPlan], Brain]
"""Makes the model of one call from the plan of a twin."""


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario."""

    scenario: Scenario
    story: Story | None  # None: it was not played, or not in a world
    findings: Sequence[Finding]
    trace: str = ""
    trouble: str = ""  # why it could not be played, or not be judged
    not_played: str = ""  # why nobody tried
    real: Facts | None = None  # what is known of a call that was made over real sockets
    took_s: float = field(default=0.0, compare=False)

    @property
    def facts(self) -> Facts | None:
        return self.story or self.real

    @property
    def ok(self) -> bool:
        return not self.trouble and all(one.ok for one in self.findings)

    @property
    def failures(self) -> list[Finding]:
        return [one for one in self.findings if not one.ok]


def play(
    scenario: Scenario, agent: Agent, toolbox: Toolbox, *, make_brain: MakeBrain, twiml: Twiml, seed: int | None = None
) -> Outcome:
    """Play a scenario to its end and judge it. Blocks, for tens of milliseconds; the same arguments, the same outcome.

    Args:
        seed: instead of the file's.
    """
    began = time.perf_counter()
    lines, numbers = numbered_lines(texts_of(agent.silence))
    twin, runs = twin_plan(scenario, agent), ToolRuns()
    plan = call_plan(scenario, agent, brain=lambda: make_brain(twin), lines=numbers, wall_s=_wall_s(scenario.clock))
    houses: list[ScenarioHouse] = []
    stories: list[Story] = []

    def make_house(plane: Plane, vapi_calls: VapiCalls) -> House:
        house = ScenarioHouse(
            plane,
            vapi_calls,
            agent=agent,
            toolbox=toolbox_for(toolbox, scenario.tools, runs),
            lines=lines,
            wall_s=_wall_s(scenario.clock),
            twiml=twiml,
            variables=scenario.variables,
            machine_ms=machine_ms(scenario),
        )
        houses.append(house)
        return house

    def lived(one: Lived) -> None:
        house = houses[0]
        crashed = house.supervisor.statistics.crashed
        stories.append(Story(one, runs, tuple(house.documents), crashed, numbers))

    with only_virtual_time():
        seed = scenario.seed if seed is None else seed
        run_calls(make_house, [plan], seed=seed, at_once=1, lived=lived)
    if not stories:
        return Outcome(scenario, None, (), trouble="the call was declined: `limits.concurrent_calls` leaves no room")
    (story,) = stories
    return Outcome(
        scenario,
        story,
        judge_all(scenario, story),
        trace_hash(story.records),
        _refused(runs),
        took_s=time.perf_counter() - began,
    )


def _refused(runs: ToolRuns) -> str:
    """Tools that left virtual time: what came of the call then means nothing."""
    told = [
        f"tool {name} {what}: give it an answer under `tools:`, like `{name}: {{answers: …}}`, or run with --real"
        for name, what in sorted(runs.refused.items())
    ]
    return "\n".join(told)


def _wall_s(clock: str) -> float:
    return datetime.strptime(clock, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()
