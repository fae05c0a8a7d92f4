"""What came of scenarios, for people: a line each; for those that went differently what, where, and the transcript."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from actors.scenario import Finding, Outcome
from actors.scenario.story import Facts, Story
from web.timeline import WHO_STYLES, Timeline
from web.wording import BAD, CALLER, clean

_MARK = {True: Text("✓", "bold green"), False: Text("✗", "bold red")}
_VERBS = {"words": "says", "cut in": "cuts in", "murmur": "murmurs"}


def report(path: Path, outcome: Outcome, *, transcript: bool) -> Iterator[RenderableType]:
    """One scenario: its line, its failures, and its transcript if it failed or is asked for."""
    yield head_line(path, outcome)
    if outcome.not_played:
        yield Text(f"  – not played: {outcome.not_played}", "dim")
    for trouble in outcome.trouble.splitlines():
        yield Text(f"    {trouble}", BAD)
    for one in outcome.findings:
        if one.skipped:
            yield Text(f"  – {one.expected}  (not judged: {one.skipped})", "dim")
        elif not one.ok:
            yield from _failure(one, outcome.facts)
        elif transcript:
            yield Text(f"  ✓ {one.expected}", "dim")
    if outcome.facts is not None and (transcript or not outcome.ok):
        yield Text()
        yield from transcript_lines(outcome.facts, outcome.failures)
        yield Text()


def head_line(path: Path, outcome: Outcome) -> Text:
    mark = Text("–", "yellow") if outcome.not_played else _MARK[outcome.ok]
    line = Text.assemble(mark, " ", (outcome.scenario.scenario, "bold"), "  ", (str(path), "dim"))
    if outcome.facts is not None:
        took = f"{outcome.took_s:.1f} s" if outcome.took_s >= 1 else f"{outcome.took_s * 1000:.0f} ms"
        line.append(f"  {outcome.facts.ended_ms / 1000:.1f} s of call in {took}", "dim")
    return line


def _failure(one: Finding, story: Facts | None) -> Iterator[RenderableType]:
    where = f"  (at {story.at(one.near_ms)})" if story is not None and one.near_ms is not None else ""
    yield Text.assemble("  ", _MARK[False], " expected  ", (clean(one.expected), "bold"))
    yield Text.assemble("    happened  ", (clean(one.happened), "red"), (where, "dim"))
    if one.rows:
        yield Padding(beside(one), (0, 0, 0, 4))


def beside(one: Finding) -> Table:
    """What was expected beside what happened, line by line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for title in ("", "expected", "happened"):
        table.add_column(title, overflow="fold")
    for expected, happened, agree in one.rows:
        style = "" if agree else "bold red"
        table.add_row(Text(" " if agree else "✗", style), Text(expected, style), Text(happened, style))
    return table


def transcript_lines(facts: Facts, failures: Sequence[Finding]) -> Iterator[Text]:
    """The journal as `callscope calls show` shows it, with what the caller really did and where it went differently."""
    timeline = Timeline(only_heard=True)
    lines = [(facts.ms_of(record), 1, line) for record in facts.records for line in timeline.lines(record)]
    if isinstance(facts, Story):
        lines += [(ms, 0, line) for ms, line in _caller_lines(facts)]
    lines += [
        (one.near_ms, 2, Text(f"{facts.at(one.near_ms):>9}  ✗ expected {clean(one.expected)}", BAD))
        for one in failures
        if one.near_ms is not None
    ]
    yield from (line for _, _, line in sorted(lines, key=lambda one: one[:2]))


def _caller_lines(story: Story) -> Iterator[tuple[float, Text]]:
    for placed in story.lived.placed:
        sound = placed.sound
        what = f"{_VERBS[sound.name]} “{sound.text}”" if sound.name in _VERBS else f"makes a sound: {sound.name}"
        line = Text.assemble((f"{story.at(placed.onset_ms):>9}", "dim"), (f"  {CALLER:<7}", WHO_STYLES[CALLER]))
        yield placed.onset_ms, line.append(f"  ▸ {clean(what)} ({placed.end_ms - placed.onset_ms:.0f} ms)", "cyan")


@dataclass(frozen=True)
class Told:
    """What is kept of a scenario once it is over: small, and fit for another process."""

    path: Path
    name: str
    ok: bool
    report: str  # as it is to be printed
    trace: str = ""
    took_s: float = 0.0
    played: bool = True
    skipped: int = 0  # expectations that nobody could judge
    why: str = ""  # in a line, if it is not ok
    plain: str = ""  # the report without colours, if it is not ok
    fault: bool = False  # the file could not be read


@dataclass(frozen=True)
class Look:
    """How reports are printed."""

    width: int
    colours: Literal["auto", "standard", "256", "truecolor", "windows"] | None
    transcript: bool

    def render(self, parts: Iterable[RenderableType]) -> str:
        console = Console(
            width=self.width, color_system=self.colours, force_terminal=self.colours is not None, highlight=False
        )
        with console.capture() as captured:
            for part in parts:
                console.print(part, soft_wrap=isinstance(part, Text))
        return captured.get()


PLAIN = Look(width=160, colours=None, transcript=False)


def told_of(path: Path, outcome: Outcome, look: Look) -> Told:
    """An outcome as it is told."""
    why = ""
    if not outcome.ok:
        why = outcome.trouble or "; ".join(f"{one.expected}: {one.happened}" for one in outcome.failures)
    return Told(
        path,
        outcome.scenario.scenario,
        outcome.ok,
        look.render(report(path, outcome, transcript=look.transcript)),
        outcome.trace,
        outcome.took_s,
        played=not outcome.not_played,
        skipped=sum(bool(one.skipped) for one in outcome.findings),
        why=why.partition("\n")[0],
        plain="" if outcome.ok else as_text(path, outcome),
    )


def told_of_fault(path: Path, fault: str, look: Look) -> Told:
    """A file that could not be read."""
    report_ = look.render([Text.assemble(_MARK[False], f" {path}"), Text(fault, "red")])
    return Told(path, path.name, ok=False, report=report_, why=fault.partition("\n")[0], plain=fault, fault=True)


def summary(all_told: Sequence[Told], *, took_s: float) -> Text:
    """One line about all of them."""
    played = [one for one in all_told if one.played and not one.fault]
    counts = (
        (sum(one.ok for one in played), "passed", "bold green"),
        (sum(not one.ok for one in played), "failed", "bold red"),
        (sum(not one.played for one in all_told), "not played", "yellow"),
        (sum(one.fault for one in all_told), "not readable", "bold red"),
        (sum(one.skipped for one in all_told), "expectations not judged", "yellow"),
    )
    parts = [(f"{count} {what}", style if count else "") for count, what, style in counts if count or what == "passed"]
    line = Text(", ").join(Text(text, style) for text, style in parts)
    a_minute = len(played) / took_s * 60 if took_s else 0.0
    return line.append(f" in {took_s:.2f} s ({a_minute:.0f} a minute)", "dim")


def as_text(path: Path, outcome: Outcome) -> str:
    """The report without colours, for pytest and JUnit."""
    return PLAIN.render(report(path, outcome, transcript=False))
