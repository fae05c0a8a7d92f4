"""The rules as a picture, drawn by `transitions` from the same rows that `step` runs. Pure: text in, text out."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from transitions import Machine
from transitions.extensions import GraphMachine

from engine.phases import Phase
from engine.rules import RULES, STAY

_EDGE = re.compile(r"^\s*(\w+|\[\*\]) --> (\w+|\[\*\])(?:\s*:\s*(.*))?$")

HEADER = """\
%% Made by `callscope diagram` from engine/rules.py; do not edit. `callscope diagram --check` compares.
%% Only changes of phase are drawn; events that a phase takes note of and stays are in the rules.
stateDiagram-v2
  direction TB
"""


def build_machine(*, stays: bool = True, graph: bool = False) -> Any:
    """The rules as a `transitions` machine without a model: add one with `add_model(model, initial=…)`.

    Args:
        stays: also the rows that stay, as internal transitions.
        graph: a machine that can draw itself.
    """
    rows = [
        {"trigger": row.event.__name__, "source": str(row.phase), "dest": None if row.to is STAY else str(row.to)}
        for row in RULES
        if stays or row.to is not STAY
    ]
    kind: Any = GraphMachine if graph else Machine
    extra = {"graph_engine": "mermaid"} if graph else {}
    states = [str(phase) for phase in Phase]
    return kind(model=None, states=states, initial=None, transitions=rows, auto_transitions=False, **extra)


class _Pen:
    """A model for `transitions` to draw; it never moves."""

    get_graph: Any


def mermaid() -> str:
    """The diagram as Mermaid text: one line an edge and event group, in the order of the phases."""
    machine = build_machine(stays=False, graph=True)
    pen = _Pen()
    machine.add_model(pen, initial=str(Phase.CONNECTING))
    lines = [line for line in pen.get_graph().source.splitlines() if _EDGE.match(line)]
    edges = "\n".join(f"  {line.strip().replace(' | ', ', ')}" for line in lines)
    return f"{HEADER}  [*] --> {Phase.CONNECTING}\n{edges}\n  {Phase.ENDED} --> [*]\n"


def edges(text: str) -> dict[tuple[str, str], frozenset[str]]:
    """The edges of a diagram text: (from, to) → the events on it."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in text.splitlines():
        match = _EDGE.match(line)
        if match:
            labels = (match[3] or "").replace("|", ",").split(",")
            found[match[1], match[2]] |= {label.strip() for label in labels if label.strip()}
    return {key: frozenset(labels) for key, labels in found.items()}


def differences(code: str, picture: str) -> list[str]:
    """What a reviewer must know when code and picture differ: each edge, in words. Empty when they agree."""
    in_code, in_picture = edges(code), edges(picture)
    told: list[str] = []
    for key in sorted(in_code.keys() | in_picture.keys()):
        arrow = f"{key[0]} → {key[1]}"
        for event in sorted(in_code.get(key, frozenset()) - in_picture.get(key, frozenset())):
            told.append(f"only in the code: {arrow} on {event}")
        for event in sorted(in_picture.get(key, frozenset()) - in_code.get(key, frozenset())):
            told.append(f"only in the picture: {arrow} on {event}")
        if (key in in_code) != (key in in_picture) and not (in_code.get(key) or in_picture.get(key)):
            told.append(f"only in the {'code' if key in in_code else 'picture'}: {arrow}")
    if not told and code != picture:
        told.append("same edges, other text: the file was edited by hand or made by another version")
    return told
