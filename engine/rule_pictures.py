"""The rules with colours, as a Mermaid flowchart: what another revision did differently, what tests fire. Pure.

A state diagram of Mermaid cannot colour single edges, a flowchart can (`linkStyle`); the plain picture of the rules is
`engine.diagram`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from engine.rule_rows import Row

EVENTS_A_LINE = 2  # on an edge's label


class Ink(Enum):
    """How an edge is drawn: arrow, and style of the line and its words."""

    SAME = ("-->", "stroke:#8c959f,color:#57606a")
    ADDED = ("-->", "stroke:#1a7f37,stroke-width:3px,color:#1a7f37")
    REMOVED = ("-.->", "stroke:#cf222e,stroke-width:2px,color:#cf222e")
    CHANGED = ("-->", "stroke:#9a6700,stroke-width:2px,color:#9a6700")

    @property
    def arrow(self) -> str:
        return self.value[0]

    @property
    def style(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Change:
    """One (phase, event) that two revisions treat differently; `was` or `now` is None where one has no rule for it."""

    was: Row | None
    now: Row | None

    @property
    def row(self) -> Row:
        row = self.now or self.was
        assert row is not None
        return row

    @property
    def kind(self) -> Literal["added", "removed", "moved", "asks", "why"]:
        if self.was is None or self.now is None:
            return "removed" if self.now is None else "added"
        if self.was.to != self.now.to:
            return "moved"
        return "asks" if self.was.effects != self.now.effects else "why"

    def __str__(self) -> str:
        """The change in words: sign, edge, and what is asked for."""
        was, now = self.was, self.now
        if was is None or now is None:
            return f"{'-' if now is None else '+'} {_edge(self.row)}{_asks(self.row)}"
        match self.kind:
            case "moved":
                return f"~ {_edge(now)}{_asks(now)}, was {was.to or 'stays'}{_asks(was)}"
            case "asks":
                return f"~ {_edge(now)}: asks for {_list(now)}, was {_list(was)}"
            case _:
                return f"~ {_edge(now)}: another reason"


def _edge(row: Row) -> str:
    return f"{row.phase} → {row.to} on {row.event}" if row.to else f"{row.phase} stays on {row.event}"


def _asks(row: Row) -> str:
    return f" ({', '.join(row.effects)})" if row.effects else ""


def _list(row: Row) -> str:
    return ", ".join(row.effects) or "nothing"


def changes(was: Iterable[Row], now: Iterable[Row]) -> list[Change]:
    """All that differs, in the order of the present table, what is gone last."""
    before, after = {row.pair: row for row in was}, {row.pair: row for row in now}
    found = [Change(before.get(pair), row) for pair, row in after.items() if before.get(pair) != row]
    return found + [Change(row, None) for pair, row in before.items() if pair not in after]


def picture_of_changes(was: Sequence[Row], now: Sequence[Row]) -> str:
    """All edges, what is new in green, what is gone in red and dashed, what asks for something else in amber.

    Of the rows that stay only those that differ in what they ask for are drawn.
    """
    edges: list[tuple[Row, Ink, str]] = []
    changed = {change.row.pair: change for change in changes(was, now) if change.kind != "why"}
    for row in now:
        change = changed.get(row.pair)
        if change is None:
            if row.to:
                edges.append((row, Ink.SAME, row.event))
        elif change.kind == "asks":
            edges.append((row, Ink.CHANGED, row.event))
        elif row.to or row.effects:
            edges.append((row, Ink.ADDED, row.event))
    gone = [c.was for c in changed.values() if c.was is not None and c.kind in ("removed", "moved")]
    edges += [(row, Ink.REMOVED, row.event) for row in gone if row.to or row.effects]
    return _flowchart(edges, "Green: new. Red and dashed: gone. Amber: asks for something else. Grey: as before.")


def picture_of_coverage(rows: Iterable[Row], fired: Mapping[tuple[str, str], int]) -> str:
    """All moves, each event with how often it was fired; what nothing fires is red and dashed."""
    edges = [
        (row, Ink.ADDED, f"{row.event} {fired[row.pair]}") if fired.get(row.pair) else (row, Ink.REMOVED, row.event)
        for row in rows
        if row.to
    ]
    return _flowchart(edges, "Green: fired so often. Red and dashed: fired by nothing.")


def _flowchart(edges: Iterable[tuple[Row, Ink, str]], legend: str) -> str:
    """One arrow for all events that lead from one phase to another in one ink."""
    grouped: dict[tuple[str, str, Ink], list[str]] = {}
    for row, ink, label in edges:
        grouped.setdefault((row.phase, row.to or row.phase, ink), []).append(label)
    lines = [f"%% {legend}", "flowchart TB"]
    lines += [f"  {name}([{name}])" for name in dict.fromkeys(name for key in grouped for name in key[:2])]
    styles: dict[Ink, list[str]] = {}
    for number, ((begin, to, ink), labels) in enumerate(grouped.items()):
        lines.append(f'  {begin} {ink.arrow}|"{_label(labels)}"| {to}')
        styles.setdefault(ink, []).append(str(number))
    lines += [f"  linkStyle {','.join(numbers)} {ink.style}" for ink, numbers in styles.items()]
    return "\n".join(lines) + "\n"


def _label(labels: Sequence[str]) -> str:
    return "<br/>".join(", ".join(labels[at : at + EVENTS_A_LINE]) for at in range(0, len(labels), EVENTS_A_LINE))
