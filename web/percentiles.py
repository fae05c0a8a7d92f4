"""Percentiles of a few numbers, as they were measured: no interpolation makes up a value that never was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

SHOWN = (50, 95, 99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all are at most (nearest rank).

    Args:
        ordered: at least one value, rising.
    """
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def shown(values: Iterable[float]) -> tuple[float, ...]:
    """p50, p95 and p99; nothing of nothing."""
    ordered = sorted(values)
    return tuple(percentile(ordered, percent) for percent in SHOWN) if ordered else ()
