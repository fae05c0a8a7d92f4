"""The rules as tables for a reviewer: per phase what each event leads to, what is asked for, and why. Pure: text out.

With counts (`Fired`), the tables also say how often tests or scenarios fired each row, and which fire none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import cast

from engine.effects import Effect
from engine.events import Event
from engine.phases import Phase
from engine.rule_rows import Row, mentioned, rows_of
from engine.rules import NAMED_ONLY_IN, RULE_FOR, RULES
from engine.turns import WAITS_IN, waits

Fired = Mapping[tuple[str, str], int]
"""How often each (phase, event) was fired."""

MEANS = {
    Phase.CONNECTING: "Admitted; one leg or both are still missing.",
    Phase.LISTENING: "The agent is not heard; the caller may speak.",
    Phase.SPEAKING: "The agent, or a line of ours, is heard.",
    Phase.INTERRUPTED: "The caller cut in: the agent is silenced until the debounce is over.",
    Phase.TOOL_PENDING: "A tool works and nobody speaks.",
    Phase.TRANSFERRING: "Twilio takes the call back: words, then a person or the end.",
    Phase.ENDED: "Over, and stays over: whatever still comes changes nothing.",
}

HEADER = """\
<!-- Made by `callscope diagram` from engine/rules.py; do not edit. `callscope diagram --check` compares. -->
# The rules, phase by phase

What runs, as tables: one row for each event that moves the call or asks for something; below it what a phase takes note
of without moving. `callscope diagram --coverage FILE` adds how often tests fired each. Several effects in one cell are
all that the action may ask for, in the order of the code; its sentence says when. A name in **bold** is a deadline: it
comes by itself when the time is over, and so every phase has a way on.
"""


def rows() -> list[Row]:
    """The present rules."""
    return rows_of(RULES, Effect)


def deadlines_of(phase: Phase) -> tuple[str, ...]:
    """The events that time alone brings about in this phase."""
    makers = [waits] if phase not in WAITS_IN else [waits, WAITS_IN[phase]]
    found = [name for maker in makers for name in mentioned(cast(FunctionType, maker), Event)]
    known = {event.__name__ for at, event in RULE_FOR if at is phase and event in NAMED_ONLY_IN}
    return tuple(dict.fromkeys(name for name in found if name in known or name == "LastWordsHeard"))


def phases_page(fired: Fired | None = None) -> str:
    """All tables, as Markdown."""
    return f"{HEADER}\n" + "\n".join(phase_table(phase, fired) for phase in Phase)


def phase_table(phase: Phase, fired: Fired | None = None) -> str:
    """One phase: its table, and what it only takes note of."""
    mine = [row for row in rows() if row.phase == phase]
    timed = deadlines_of(phase) if phase is not Phase.ENDED else ()
    lines = [f"## {phase}", "", MEANS[phase], ""]
    acting = [row for row in mine if row.to or row.effects]
    if acting:
        counts = "" if fired is None else " fired |"
        lines += [f"| on | next | asks for | why |{counts}", f"|---|---|---|---|{'' if fired is None else '---:|'}"]
        lines += [_line(row, timed, fired) for row in acting]
        lines.append("")
    quiet: dict[str, list[Row]] = defaultdict(list)
    for row in mine:
        if row not in acting:
            quiet[row.why].append(row)
    if quiet:
        lines += ["Stays, and asks for nothing:", ""]
        lines += [_noted(why, group, timed, fired) for why, group in quiet.items()]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row, timed: Iterable[str], fired: Fired | None) -> str:
    event = f"**{row.event}**" if row.event in timed else row.event
    effects = ", ".join(f"`{effect}`" for effect in row.effects) or "–"
    cells = [event, row.to or "stays", effects, row.why.replace("|", "\\|")]
    if fired is not None:
        cells.append(_count(row, fired))
    return f"| {' | '.join(cells)} |"


def _noted(why: str, group: Iterable[Row], timed: Iterable[str], fired: Fired | None) -> str:
    named = [f"**{row.event}**" if row.event in timed else row.event for row in group]
    if fired is not None:
        named = [f"{name} ({_count(row, fired)})" for name, row in zip(named, group, strict=True)]
    return f"- {', '.join(named)}{f': {why}' if why else ''}"


def _count(row: Row, fired: Fired) -> str:
    return str(fired.get(row.pair, 0)) if row.pair in fired else "**none**"


def unfired(fired: Fired) -> list[Row]:
    """The rules that nothing fired, in the order of the table; those of `ended` all say the same and are left out."""
    return [row for row in rows() if not fired.get(row.pair) and row.phase != Phase.ENDED]
