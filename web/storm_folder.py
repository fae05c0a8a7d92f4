"""What the storm leaves of a failure: a folder with a scenario that `callscope test` plays, its agent, and the plan."""

from __future__ import annotations

from pathlib import Path

import yaml

from actors.storm import plan_file
from actors.storm.actor_level import BrokenPlan, LivedPlan
from actors.storm.as_scenario import AsScenario, answered, as_scenario
from actors.storm.storm_world import StormCall, says, step_of
from actors.world.words import words_heard
from engine.errors import BadSettings
from engine.journal import Kind
from web.scenario_file import write_scenario
from web.scenario_play import play_path

SCENARIO, PLAN, AGENT, TOOLS = "smallest.scenario.yaml", "smallest.plan.yaml", "agent.yaml", "tools.py"

MOST_WORDS = 2


def write_folder(folder: Path, lived: LivedPlan) -> tuple[Path, bool]:
    """Write everything of a failing plan; the scenario's path, and whether it fails here and now as the plan did.

    Blocks while the scenario is played. Its head says what only the plan holds.
    """
    broken = lived.broken
    assert broken is not None
    made = _as_scenario(lived)
    folder.mkdir(parents=True, exist_ok=True)
    why = f"{broken.law}, at {broken.at:.4f} s: {broken.what}"
    plan_file.write(folder / PLAN, lived.plan, why=why)
    agent = yaml.safe_dump(made.agent, sort_keys=False, allow_unicode=True, width=110)
    (folder / AGENT).write_text(agent, encoding="utf-8")
    if made.tools:
        (folder / TOOLS).write_text(made.tools, encoding="utf-8")
    path = folder / SCENARIO
    path.write_text(write_scenario(made.scenario, comment=_comment(why, made)), encoding="utf-8")
    shows_it = _fails(path)
    if not shows_it:
        comment = f"{_comment(why, made)}\nIt did not fail when it was written: look at the plan."
        path.write_text(write_scenario(made.scenario, comment=comment), encoding="utf-8")
    return path, shows_it


def _as_scenario(lived: LivedPlan) -> AsScenario:
    broken = lived.broken
    assert broken is not None
    call = next((one for one in lived.calls if one.number == broken.call), None)
    closed_ms, missed = 0.0, []
    if call is not None:
        closed_ms = next((one.at_ms for one in call.records if one.kind is Kind.CLOSED), 0.0)
        steps = call.caller.missed if call.caller is not None else []
        missed = [act for act in call.plan.acts if step_of(act) in steps]
    return as_scenario(
        lived.plan, law=broken.law, what=broken.what, number=broken.call, closed_ms=closed_ms, missed=missed,
        stale=_stale(call, broken) if call is not None and broken.law.startswith("I8") else "",
    )  # fmt: skip


def _stale(call: StormCall, broken: BrokenPlan) -> str:
    """The last words heard of a speech that had been cut, if nothing else that was said has them."""
    carrier, agent = call.carrier, call.agent
    if carrier is None or agent is None:
        return ""
    since_ms = (broken.at - (carrier.began_at - call.opened_at)) * 1000 + call.plan.down_ms + call.plan.jitter_ms
    greeting, number = says(call.plan.greeting_words), broken.plan.agent
    told = [
        greeting if not index and one.text == greeting else answered(len(one.text.split()), agent=number)
        for index, one in enumerate(agent.speeches)
    ]
    for index, speech in enumerate(agent.speeches):
        heard = [one for one in words_heard(call.tap, [speech], {}) if one.at_ms > since_ms]
        if speech.began_at - call.opened_at < broken.at and heard:
            before = [one for one in words_heard(call.tap, [speech], {}) if one.at_ms <= since_ms]
            stale = told[index].split()[len(before) :][: len(heard)][-MOST_WORDS:]
            phrase = " ".join(stale)
            others = (text for number, text in enumerate(told) if number != index)
            return phrase if not any(f" {phrase} " in f" {text} " for text in others) else ""
    return ""


def _comment(why: str, made: AsScenario) -> str:
    lines = [why, f"The smallest plan of the storm is beside this file: callscope storm --plan {PLAN}"]
    return "\n".join([*lines, *(f"Left out here: {one}" for one in made.left_out)])


def _fails(path: Path) -> bool:
    try:
        _, outcome = play_path(path)
    except BadSettings:
        return False  # the file says which part; the plan is whole
    return not outcome.ok
