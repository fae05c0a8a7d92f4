"""`callscope bench turns`: how callers are interrupted and interrupt, judged by what was heard. See issue 4's goals.

Two parts. In virtual time thousands of calls are lived on the real actors (`actors.world`), first by us and then, the
same calls, by the tutorials' bridge. Over real sockets a few calls go through both twins (`web.bench.turns_real`).
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.world.house import CallscopeHouse
from actors.world.referee import Fate, Report, judge
from actors.world.world import CallPlan, Lived, MakeHouse, run_calls
from engine.audio import FRAME_MS
from web.bench.contenders import PEERS
from web.bench.media import machine
from web.bench.turns_scenes import CONDITIONS, Condition, calls

AT_ONCE = 25  # calls that share the jumps of the clock

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much."""

    calls: int = 2600  # some ten thousand sounds
    naive_calls: int = 400
    real_calls: int = 12
    seed: int = 1

    @classmethod
    def quick(cls, seed: int = 1) -> Plan:
        return cls(calls=260, naive_calls=130, real_calls=4, seed=seed)


@dataclass
class Tally:
    """What the referee found, over many calls."""

    calls: int = 0
    interruptions: int = 0  # sounds of any kind into a speech of the agent's
    true: int = 0
    true_ended: int = 0
    false: int = 0
    false_ended: int = 0
    holds_resumed: int = 0
    onsets_ms: list[float] = field(default_factory=list)
    lost_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    longest_silence_ms: float = 0.0
    overlaps: int = 0
    overlapping_calls: int = 0
    words_lost: int = 0
    certificates: int = 0
    certificate_error_ms: float = 0.0
    certificates_wrong: int = 0
    uncertified: int = 0
    missed_steps: int = 0
    worst: list[tuple[str, float, str]] = field(default_factory=list)  # what, how much, which call

    def add(self, report: Report, lived: Lived, name: str) -> None:
        """One call."""
        self.calls += 1
        self.missed_steps += len(lived.missed)
        for ruling in report.rulings:
            if ruling.fate not in (Fate.NOTHING, Fate.FINISHED):
                self._count(ruling.is_speech, ruling.fate)
            if ruling.is_speech and ruling.fate is Fate.ENDED and ruling.silent_ms is not None:
                self.onsets_ms.append(ruling.silent_ms)
            if ruling.is_speech:
                self.words_lost += ruling.words_lost
            if ruling.is_speech and ruling.fate in (Fate.RESUMED, Fate.UNTOUCHED):
                self.worst.append(("missed", 1.0, f"{name}: {ruling.name} at {ruling.onset_ms:.0f} ms"))
            if not ruling.is_speech and ruling.fate is Fate.ENDED:
                self.worst.append(("ended by a false one", 1.0, f"{name}: {ruling.name} at {ruling.onset_ms:.0f} ms"))
        self.false += report.causeless_ended + report.causeless_held
        self.false_ended += report.causeless_ended
        self.holds_resumed += report.causeless_held
        self.lost_ms += report.lost_ms
        self.gaps_ms += report.gaps_ms
        self.overlaps += len(report.overlaps)
        self.overlapping_calls += bool(report.overlaps)
        self.longest_silence_ms = max(self.longest_silence_ms, report.longest_silence_ms)
        self.certificates += len(report.certificates)
        self.uncertified += report.uncertified
        self.certificates_wrong += sum(not one.right_decision for one in report.certificates)
        worst_ms = max((one.worst_ms for one in report.certificates), default=0.0)
        self.certificate_error_ms = max(self.certificate_error_ms, worst_ms)
        self.worst += [("silence ms", end - start, f"{name} at {start:.0f} ms") for start, end in report.silences]
        self.worst += [("overlap ms", end - start, f"{name} at {start:.0f} ms") for start, end in report.overlaps]
        self.worst += [("lost ms", abs(ms), name) for ms in report.lost_ms if ms]
        self.worst += [("certificate ms", worst_ms, name)]

    def _count(self, is_speech: bool, fate: Fate) -> None:
        self.interruptions += 1
        if is_speech:
            self.true += 1
            self.true_ended += fate is Fate.ENDED
        elif fate is not Fate.OVERTAKEN:
            self.false += 1
            self.false_ended += fate is Fate.ENDED
            self.holds_resumed += fate is Fate.RESUMED

    def figures(self, onsets_ms: Sequence[float] | None = None) -> dict[str, Any]:
        """For the table and the JSON. `onsets_ms`: instead of our own."""
        return {
            "calls": self.calls,
            "interruptions": self.interruptions,
            "onset_to_silence_ms": percentiles(self.onsets_ms if onsets_ms is None else onsets_ms),
            "true_rate": _share(self.true_ended, self.true),
            "false_rate": _share(self.false_ended, self.false),
            "true": self.true,
            "false": self.false,
            "holds_resumed": self.holds_resumed,
            "resume_error_frames_max": max((abs(ms) for ms in self.lost_ms), default=0.0) / FRAME_MS,
            "gap_ms_max": max(self.gaps_ms, default=0.0),
            "longest_silence_ms": round(self.longest_silence_ms, 1),
            "overlaps": self.overlaps,
            "words_lost": self.words_lost,
            "certificates": self.certificates,
            "certificate_error_frames_max": round(self.certificate_error_ms / FRAME_MS, 2),
            "certificates_wrong": self.certificates_wrong,
            "uncertified": self.uncertified,
            "missed_steps": self.missed_steps,
        }

    def worst_of(self, what: str, many: int = 5) -> list[str]:
        """Where to look first."""
        found = sorted((one for one in self.worst if one[0] == what), key=lambda one: -one[1])[:many]
        return [f"{value:.0f} {where}" for _, value, where in found]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, each a value that occurred; empty when there is none."""
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[math.ceil(len(ordered) * share) - 1], 1) for name, share in ranks.items()}


@dataclass
class Result:
    """One run of the bench."""

    command: str
    machine: dict[str, Any]
    seed: int
    ours: dict[str, Tally] = field(default_factory=dict)
    naive: dict[str, Tally] = field(default_factory=dict)
    real: dict[str, Any] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """The JSON: the issue's keys at the top, then each condition, then the tutorials' bridge with the same keys."""
        return {
            "command": self.command,
            "machine": self.machine,
            "seed": self.seed,
            **_together(self.ours),
            "conditions": {name: tally.figures() for name, tally in self.ours.items()},
            "naive": {**_together(self.naive), "conditions": {n: t.figures() for n, t in self.naive.items()}},
            "real": self.real,
            "took_s": self.took_s,
            "notes": self.notes,
            "worst": {what: _all(self.ours).worst_of(what) for what in WORST},
        }


WORST = ("missed", "ended by a false one", "silence ms", "overlap ms", "lost ms", "certificate ms")
HEADLINE = frozenset(condition.name for condition in CONDITIONS if condition.is_headline)


def _together(tallies: dict[str, Tally]) -> dict[str, Any]:
    """All conditions as one; the onset's percentiles of the headline ones only."""
    onsets = [ms for name, tally in tallies.items() if name in HEADLINE for ms in tally.onsets_ms]
    return _all(tallies).figures(onsets) if tallies else {}


def _all(tallies: dict[str, Tally]) -> Tally:
    total = Tally()
    for tally in tallies.values():
        for name, value in vars(tally).items():
            present = getattr(total, name)
            largest = name in ("longest_silence_ms", "certificate_error_ms")
            setattr(total, name, max(present, value) if largest else present + value)
    return total


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
        tallies[condition.name].add(judge(one), one, f"{condition.name} #{number}")
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


def new_result(plan: Plan) -> Result:
    return Result(command="callscope " + " ".join(sys.argv[1:]), machine=machine(), seed=plan.seed)


def one_call(number: int, seed: int, make_house: MakeHouse = CallscopeHouse) -> tuple[Lived, Report]:
    """The n-th call of a run by itself, for looking closer: the same plan, alone in its world."""
    plan: CallPlan = list(calls(number + 1, seed))[number][1]
    found: list[Lived] = []
    run_calls(make_house, [plan], seed=seed, at_once=1, lived=found.append)
    return found[0], judge(found[0])
