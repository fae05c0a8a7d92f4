"""The rules as plain data: what a reviewer compares, of this revision or of another. Pure.

Knows nothing of the present rules and imports nothing of the engine, so that it can read the table of any revision that
has rows of (phase, event, to, then, why): `callscope diagram --diff` loads it beside an older engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One rule.

    Args:
        to: the next phase; empty where the phase stays.
        effects: what may be asked for, in the order of the code; some of it under conditions that `then` knows.
        why: of the row, and what its action says of itself, or its event.
    """

    phase: str
    event: str
    to: str
    effects: tuple[str, ...] = ()
    why: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        return self.phase, self.event


def rows_of(rules: Iterable[Any], effect: type) -> list[Row]:
    """The rows of a rules table, in its order; `effect` is the class that all effects are of."""
    return [_row(rule, tuple(_asked_for(rule.then, effect))) for rule in rules]


def _row(rule: Any, effects: tuple[str, ...]) -> Row:
    """The row's reason and its action's; where neither says anything, what the event is."""
    to = "" if rule.to is None else str(rule.to)
    why = "; ".join(filter(None, (rule.why, _told(rule.then))))
    if not why and (to or effects):
        why = _told(rule.event)
    return Row(str(rule.phase), rule.event.__name__, to, effects, why)


def _told(thing: FunctionType | type) -> str:
    """The first paragraph of a docstring, on one line; none where `Struct` or nobody wrote it."""
    text = thing.__dict__.get("__doc__") if isinstance(thing, type) else thing.__doc__
    return " ".join((text or "").split("\n\n")[0].split())


def _asked_for(then: FunctionType, effect: type) -> Iterator[str]:
    """The effects by name; of one that an outer function was told a word for, with the word: `SayLine(filler)`."""
    words = [cell.cell_contents for cell in then.__closure__ or () if isinstance(cell.cell_contents, str)]
    for name in mentioned(then, effect):
        yield f"{name}({', '.join(words)})" if words else name


def mentioned(function: FunctionType, base: type) -> tuple[str, ...]:
    """The classes of this kind that a function names, by itself or in functions of its module that it calls."""
    found: dict[str, None] = {}
    seen: set[CodeType] = set()
    around = function.__globals__
    modules = [thing for thing in around.values() if isinstance(thing, ModuleType)]

    def walk(code: CodeType) -> None:
        if code in seen:
            return
        seen.add(code)
        for name in code.co_names:
            thing = around.get(name)
            if isinstance(thing, FunctionType) and thing.__globals__ is around:
                walk(thing.__code__)
                continue
            for owner in modules:
                kind = getattr(owner, name, None)
                if isinstance(kind, type) and issubclass(kind, base) and kind is not base:
                    found[name] = None
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                walk(constant)

    walk(function.__code__)
    return tuple(found)
