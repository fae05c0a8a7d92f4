"""The rules of a call for whoever draws them: every row of the table, and a picture of those that change the phase."""

from __future__ import annotations

import inspect
import re
from functools import cache

from engine.diagram import mermaid
from engine.phases import Phase
from engine.rules import RULES, STAY
from web.api.types import Diagram, Edge

__all__ = ["diagram"]

_EFFECT = re.compile(r"\bf\.([A-Z][A-Za-z]+)\(")


@cache
def diagram() -> Diagram:
    """All of it; made once, in about a second: whoever calls first does so in a thread."""
    code = mermaid()
    return Diagram([str(phase) for phase in Phase], _edges(), code, _svg(code))


def _edges() -> list[Edge]:
    return [
        Edge(
            from_=str(row.phase),
            to=str(row.phase if row.to is STAY else row.to),
            event=row.event.__name__,
            effects=_effects(row.then),
            why=row.why,
            stays=row.to is STAY,
        )
        for row in RULES
    ]


def _effects(then: object) -> list[str]:
    """The names of the orders in the function's own text: it cannot be called without a call."""
    try:
        source = inspect.getsource(then)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return []
    return list(dict.fromkeys(_EFFECT.findall(source)))


def _svg(code: str) -> str:
    from mermaid_render import mermaid_to_svg  # noqa: PLC0415 — a JavaScript engine, 0.2 s: only when a picture is wanted

    return bytes(mermaid_to_svg(code)).decode()
