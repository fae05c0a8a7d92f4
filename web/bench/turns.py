"""`callscope bench turns`: how callers are interrupted and interrupt, judged by what was heard. See issue 4's goals.

Two parts. In virtual time thousands of calls are lived on the real actors (`actors.world`), first by us and then, the
same calls, by the tutorials' bridge. Over real sockets a few calls go through both twins (`web.bench.turns_real`).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.world.house import CallscopeHouse
from actors.world.referee import Report, judge
from actors.world.world import CallPlan, Lived, MakeHouse, run_calls
from web.bench import turns_real
from web.bench.contenders import PEERS
from web.bench.media import machine
from web.bench.turns_scenes import CONDITIONS, Condition, calls
from web.bench.turns_tally import WORST, Tally, together

AT_ONCE = 25  # calls that share the jumps of the clock

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much."""

    calls: int = 2600  # some ten thousand sounds
    naive_calls: int = 400
    real_calls: int = 8  # at once, on each kind of line
    real_lines: tuple[str, ...] = tuple(turns_real.LINES)
    seed: int = 1

    @classmethod
    def quick(cls, seed: int = 1) -> Plan:
        return cls(calls=260, naive_calls=130, real_calls=6, real_lines=("quiet",), seed=seed)


@dataclass
class Result:
    """One run of the bench."""

    command: str
    machine: dict[str, Any]
    seed: int
    ours: dict[str, Tally] = field(default_factory=dict)
    naive: dict[str, Tally] = field(default_factory=dict)
    real: dict[str, Tally] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """The JSON: the issue's keys at the top, then each condition, then the tutorials' bridge with the same keys."""
        return {
            "command": self.command,
            "machine": self.machine,
            "seed": self.seed,
            **_all_of(self.ours),
            "conditions": {name: tally.figures() for name, tally in self.ours.items()},
            "naive": {**_all_of(self.naive), "conditions": {n: t.figures() for n, t in self.naive.items()}},
            "real": {**_all_of(self.real), "lines": {name: tally.figures() for name, tally in self.real.items()}},
            "took_s": self.took_s,
            "notes": self.notes,
            "worst": {what: together(self.ours.values()).worst_of(what) for what in WORST},
        }


HEADLINE = frozenset(condition.name for condition in CONDITIONS if condition.is_headline)


def _all_of(tallies: dict[str, Tally]) -> dict[str, Any]:
    """All conditions as one; the onset's percentiles of the headline ones only."""
    onsets = [ms for name, tally in tallies.items() if name in HEADLINE for ms in tally.onsets_ms]
    return together(tallies.values()).figures(onsets) if tallies else {}


def play(
    make_house: MakeHouse,
    many: int,
    seed: int,
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    say: Say = lambda _: None,
) -> dict[str, Tally]:
    """So many calls in virtual time, judged; by condition."""
    tallies: dict[str, Tally] = {condition.name: Tally() for condition in conditions}
    names: dict[int, tuple[Condition, int]] = {}
    began, done = time.perf_counter(), 0

    def plans() -> Any:
        for number, (condition, plan) in enumerate(calls(many, seed, conditions)):
            names[id(plan)] = (condition, number)
            yield plan

    def lived(one: Lived) -> None:
        nonlocal done
        done += 1
        condition, number = names.pop(id(one.plan))
        tally = tallies[condition.name]
        tally.add(judge(one), f"{condition.name} #{number}")
        tally.missed_steps += len(one.missed)
        if done % 20 == 0:
            say(f"{done} of {many} calls, {time.perf_counter() - began:.0f} s")

    run_calls(make_house, plans(), seed=seed, at_once=AT_ONCE, lived=lived)
    return tallies


def naive_house() -> MakeHouse | str:
    """The tutorials' bridge, or why it is not here."""
    path = PEERS / "turns_naive.py"
    spec = importlib.util.spec_from_file_location("callscope_turns_naive", path)
    if spec is None or spec.loader is None or not path.is_file():
        return "the peers come with a checkout, not with an installed Callscope"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    house: MakeHouse = module.NaiveHouse
    return house


def in_virtual_time(plan: Plan, result: Result, *, say: Say) -> None:
    """Both bridges; the tutorials' gets the first calls of ours."""
    began = time.perf_counter()
    result.ours = play(CallscopeHouse, plan.calls, plan.seed, say=lambda line: say(f"virtual time: {line}"))
    result.took_s["ours"] = round(time.perf_counter() - began, 1)
    house = naive_house()
    if isinstance(house, str):
        result.notes.append(f"naive: {house}")
        return
    began = time.perf_counter()
    result.naive = play(house, plan.naive_calls, plan.seed, say=lambda line: say(f"the tutorials' bridge: {line}"))
    result.took_s["naive"] = round(time.perf_counter() - began, 1)


async def over_sockets(plan: Plan, result: Result, *, say: Say) -> None:
    """A few calls through both twins."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="callscope-turns-") as folder:
        lines = {name: turns_real.LINES[name] for name in plan.real_lines}
        result.real = await turns_real.over_sockets(plan.real_calls, plan.seed, Path(folder), lines=lines, say=say)
    result.took_s["real"] = round(time.perf_counter() - began, 1)


def new_result(plan: Plan) -> Result:
    return Result(command="callscope " + " ".join(sys.argv[1:]), machine=machine(), seed=plan.seed)


def one_call(number: int, seed: int, make_house: MakeHouse = CallscopeHouse) -> tuple[Lived, Report]:
    """The n-th call of a run by itself, for looking closer: the same plan, alone in its world."""
    plan: CallPlan = list(calls(number + 1, seed))[number][1]
    found: list[Lived] = []
    run_calls(make_house, [plan], seed=seed, at_once=1, lived=found.append)
    return found[0], judge(found[0])
