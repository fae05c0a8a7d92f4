"""What `callscope bench turns` prints: the goals with what was found, the tutorials' bridge beside, every condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from web.bench.turns import Result

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """One line of the issue: how to read the figure, and what it must be."""

    what: str
    read: Callable[[Figures], float | None]
    most: float | None = None
    least: float | None = None
    form: str = "{:.0f}"

    def is_met(self, figures: Figures) -> bool:
        """False when there is nothing to judge by, too."""
        found = self.read(figures)
        if found is None:
            return False
        return (self.most is None or found <= self.most) and (self.least is None or found >= self.least)

    def found(self, figures: Figures) -> str:
        found = self.read(figures)
        return "–" if found is None else self.form.format(found)

    @property
    def wanted(self) -> str:
        return f"≤ {self.form.format(self.most)}" if self.most is not None else f"≥ {self.form.format(self.least)}"


def _onset(rank: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get("onset_to_silence_ms", {}).get(rank)


def _key(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get(name)


GOALS = (
    Goal("onset → silence p50, ms", _onset("p50"), most=60),
    Goal("onset → silence p95, ms", _onset("p95"), most=120),
    Goal("true ones that ended a speech", _key("true_rate"), least=0.99, form="{:.1%}"),
    Goal("false ones that ended a speech", _key("false_rate"), most=0.01, form="{:.1%}"),
    Goal("lost or repeated, frames", _key("resume_error_frames_max"), most=1.0, form="{:.1f}"),
    Goal("two voices at once", _key("overlaps"), most=0),
    Goal("longest silence, ms", _key("longest_silence_ms"), most=2000),
    Goal("words that Vapi never got", _key("words_lost"), most=0),
    Goal("certificate and tap, frames", _key("certificate_error_frames_max"), most=1.0, form="{:.1f}"),
)
_NOT_THEIRS = {"certificate and tap, frames"}  # it writes none
_NOT_REAL = _NOT_THEIRS | {"words that Vapi never got"}  # nobody knows the truth there


_HIDDEN = (
    "noise as loud as the voice hides its beginning: the agent falls silent at the first words, not at the first sound"
)
WHY: Mapping[str, Mapping[str, str]] = {
    "two voices at once": {
        "10 dB noise": _HIDDEN,
        "5 dB noise": _HIDDEN,
        "loudspeaker": "the agent's own echo is as loud as the caller: without words a voice must be louder",
        "late Vapi": "the words that decide come late, and a soft voice alone did not hold the agent",
    },
    "certificate and tap, frames": {
        "rough line": "which part of a frame had been played when `clear` landed is lost in the line's jitter",
    },
}
"""Where a goal is known to be missed, and why. A miss anywhere else is one to look into."""


def misses(figures: Figures) -> list[str]:
    """A sentence for each goal that was missed, and each condition that missed it."""
    told = []
    for goal in GOALS:
        if goal.is_met(figures):
            continue
        for name, condition in figures["conditions"].items():
            if condition["calls"] and goal.read(condition) is not None and not goal.is_met(condition):
                why = WHY.get(goal.what, {}).get(name, "not known why: see the worst ones below")
                told.append(f"missed: {goal.what}: {goal.found(condition)} in {name}: {why}")
    return told


def goals_met(result: Result) -> dict[str, bool]:
    """For each goal whether our virtual-time run met it."""
    figures = result.figures()
    return {goal.what: goal.is_met(figures) for goal in GOALS}


def print_turns(result: Result, console: Console) -> None:
    """Goals first, then the conditions, then where to look."""
    figures = result.figures()
    real = figures["real"] if result.real else {}
    title = f"turn-taking: {figures.get('interruptions', 0)} interruptions in virtual time, seed {result.seed}"
    table = Table(
        title=title,
        caption="onset → silence: in quiet and at 20 dB only. wires: real sockets. guides: what tutorials teach",
    )
    for heading in ("", "goal", "ours", "", "wires", "", "guides"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for goal in GOALS:
        sockets = {} if goal.what in _NOT_REAL else real
        theirs = {} if goal.what in _NOT_THEIRS else figures["naive"]
        table.add_row(
            goal.what, goal.wanted, goal.found(figures), _tick(goal, figures),
            goal.found(sockets), _tick(goal, sockets) if sockets else "", goal.found(theirs),
        )  # fmt: skip
    console.print(table)
    console.print(_conditions("virtual time", figures["conditions"]))
    if real:
        console.print(_conditions("over sockets, in real time", real["lines"]))
    for line in misses(figures):
        console.print(line, style="yellow")
    for what, where in figures["worst"].items():
        if where:
            console.print(f"{what}: {'; '.join(where[:3])}", style="dim")
    for note in result.notes:
        console.print(note, style="yellow")
    machine = figures["machine"]
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.took_s.items())
    console.print(f"{took}; {machine['cores']} cores, {machine['cpu']}, CPython {machine['python']}", style="dim")


def _tick(goal: Goal, figures: Figures) -> str:
    return "[bold green]✓[/]" if goal.is_met(figures) else "[bold red]✗[/]"


_COLUMNS: tuple[tuple[str, Callable[[Figures], float | None], str], ...] = (
    ("cuts", _key("interruptions"), "{:.0f}"),
    ("true", _key("true_rate"), "{:.1%}"),
    ("false", _key("false_rate"), "{:.1%}"),
    ("held", _key("holds_resumed"), "{:.0f}"),
    ("p50", _onset("p50"), "{:.0f}"),
    ("p95", _onset("p95"), "{:.0f}"),
    ("lost", _key("resume_error_frames_max"), "{:.0f}"),
    ("both", _key("overlaps"), "{:.0f}"),
    ("none", _key("longest_silence_ms"), "{:.0f}"),
    ("cert.", _key("certificate_error_frames_max"), "{:.0f}"),
)
"""Heading, figure, form. held: false ones after which the speech went on; lost: frames; both, none: who was heard."""


def _conditions(title: str, conditions: Mapping[str, Figures]) -> Table:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("", no_wrap=True)
    for heading, _, _ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in conditions.items():
        if figures["calls"]:
            found = [(read(figures), form) for _, read, form in _COLUMNS]
            table.add_row(name, *("–" if value is None else form.format(value) for value, form in found))
    return table
