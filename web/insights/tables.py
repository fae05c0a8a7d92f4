"""Rows as CSV (RFC 4180) that spreadsheets open without running anything in it. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from web.api.summary import iso
from web.insights.types import Insights

__all__ = ["csv_lines", "slot_rows"]

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """The rows as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is made text by an apostrophe (OWASP, CSV Injection)."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "")
    risky = text.startswith(_STARTS_A_FORMULA) or text.lstrip(" \u00a0").startswith(_STARTS_A_FORMULA)
    return f"'{text}" if risky else text


def slot_rows(found: Insights) -> Iterator[tuple[Any, ...]]:
    """One row a stretch of time, with a column for each outcome and fault that there is."""
    outcomes = sorted({name for slot in found.slots for name in slot.outcomes})
    faults = sorted({name for slot in found.slots for name in slot.faults})
    yield (
        "began_at", "seconds", "calls", "talk_minutes", "turn_p50_ms", "turn_p95_ms", "cost_usd",
        *(f"outcome_{name}" for name in outcomes), *(f"fault_{name}" for name in faults),
    )  # fmt: skip
    for slot in found.slots:
        yield (
            iso(slot.at_ms / 1000), found.step_ms // 1000, slot.calls, round(slot.talk_ms / 60_000, 3),
            slot.turn_p50, slot.turn_p95, slot.cost_usd,
            *(slot.outcomes.get(name, 0) for name in outcomes), *(slot.faults.get(name, 0) for name in faults),
        )  # fmt: skip
