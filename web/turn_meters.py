"""Interruptions and lines of our own, counted for `/metrics` from the notes of the journal as they pass by.

What the notes hold is told where they are made: `engine.certificate`. One object a process; never reset.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from engine.wire.vapi_values import number
from web.percentiles import SHOWN, shown

STEP_BOUNDS_S = (
    0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.5, 1.0, 2.0,
)  # fmt: skip
"""Fine where the goals are: 60 and 120 ms from the caller's first voice to silence."""
HOLD_BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
LATEST = 1000  # so many interruptions the percentiles are of
MOST_LABELS = 64  # a reason or kind beyond that is counted as another: whoever scrapes keeps each for ever
OTHER = "other"


class Spread:
    """Seconds, in buckets since the process began; the latest of them as they are."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s, self._counts = bounds_s, [0] * (len(bounds_s) + 1)
        self._latest: deque[float] = deque(maxlen=LATEST)
        self._sum_s = 0.0

    def note_ms(self, value: object) -> None:
        """A number of milliseconds; anything else was not measured."""
        ms = number(value)
        if ms is not None:
            seconds = max(0.0, ms / 1000)
            self._counts[bisect_left(self._bounds_s, seconds)] += 1
            self._latest.append(seconds)
            self._sum_s += seconds

    def histogram(self) -> dict[str, Any]:
        bounds = [*map(str, self._bounds_s), "+Inf"]
        return {"buckets": list(zip(bounds, accumulate(self._counts), strict=True)), "sum": self._sum_s}

    def quantiles(self) -> list[tuple[dict[str, str], float]]:
        names = [f"{percent / 100:g}" for percent in SHOWN]
        return [({"quantile": name}, value) for name, value in zip(names, shown(self._latest), strict=False)]


class TurnMeters:
    """Takes notes by name; those that it does not know are somebody else's."""

    def __init__(self) -> None:
        self._hold, self._silence = Spread(STEP_BOUNDS_S), Spread(STEP_BOUNDS_S)
        self._resumed = Spread(HOLD_BOUNDS_S)
        self._interruptions: Counter[tuple[str, str]] = Counter()
        self._lines: Counter[str] = Counter()

    def noted(self, name: str, data: Mapping[str, Any]) -> None:
        """A note was written. Never raises: it is called from where a call lives."""
        if name == "Interruption":
            self._interrupted(data)
        elif name == "Line":
            kind = str(data.get("kind"))
            self._lines[kind if kind in self._lines or len(self._lines) < MOST_LABELS else OTHER] += 1

    def _interrupted(self, data: Mapping[str, Any]) -> None:
        hold_ms, decided_ms = number(data.get("hold_ms")), number(data.get("decided_ms"))
        self._hold.note_ms(hold_ms)
        self._silence.note_ms(data.get("silent_ms"))
        decision = "dropped" if data.get("decision") == "dropped" else "resumed"
        if decision == "resumed" and hold_ms is not None and decided_ms is not None:
            self._resumed.note_ms(decided_ms - hold_ms)
        key = (decision, str(data.get("reason")))
        known = key in self._interruptions or len(self._interruptions) < MOST_LABELS
        self._interruptions[key if known else (decision, OTHER)] += 1

    def histograms(self) -> dict[str, dict[str, Any]]:
        return {
            "interruption_hold_seconds": self._hold.histogram(),
            "interruption_silence_seconds": self._silence.histogram(),
            "hold_seconds": self._resumed.histogram(),
        }

    def labelled(self) -> dict[str, dict[str, list[tuple[dict[str, str], float]]]]:
        """Numbers with labels, by kind and name."""
        interruptions = [
            ({"decision": decision, "reason": reason}, float(count))
            for (decision, reason), count in self._interruptions.items()
        ]
        return {
            "counters": {
                "interruptions": interruptions,
                "lines": [({"kind": kind}, float(count)) for kind, count in self._lines.items()],
            },
            "gauges": {
                "interruption_hold_recent_seconds": self._hold.quantiles(),
                "interruption_silence_recent_seconds": self._silence.quantiles(),
            },
        }
