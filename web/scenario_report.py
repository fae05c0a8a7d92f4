"""What came of scenarios, for people: a line each; for those that went differently what, where, and the transcript."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

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


def summary(outcomes: Sequence[Outcome], *, faulty: int, took_s: float) -> Text:
    """One line about all of them."""
    played = [one for one in outcomes if not one.not_played]
    good = sum(one.ok for one in played)
    parts = [(f"{good} passed", "bold green" if good else "")]
    if bad := len(played) - good:
        parts.append((f"{bad} failed", "bold red"))
    if left := len(outcomes) - len(played):
        parts.append((f"{left} not played", "yellow"))
    if faulty:
        parts.append((f"{faulty} not readable", "bold red"))
    skipped = sum(bool(finding.skipped) for one in outcomes for finding in one.findings)
    if skipped:
        parts.append((f"{skipped} expectations not judged", "yellow"))
    line = Text()
    for number, (text, style) in enumerate(parts):
        line.append(", " if number else "").append(text, style)
    a_minute = len(played) / took_s * 60 if took_s else 0.0
    return line.append(f" in {took_s:.2f} s ({a_minute:.0f} a minute)", "dim")


def as_text(path: Path, outcome: Outcome, *, width: int = 160) -> str:
    """The report without colours, for pytest and JUnit."""
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        for part in report(path, outcome, transcript=False):
            console.print(part, soft_wrap=isinstance(part, Text))
    return captured.get()
