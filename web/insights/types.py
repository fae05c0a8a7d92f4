"""What `GET /api/insights` answers. Milliseconds throughout; moments are milliseconds since 1970."""

from __future__ import annotations

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Measured values: percentiles are values that were, none is made up between two."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float | None


class Bin(msgspec.Struct, frozen=True):
    """How many values from `from_ms` up to, not including, `to_ms`; None: no end."""

    from_ms: int
    to_ms: int | None
    count: int


class OutcomeRow(msgspec.Struct, frozen=True):
    outcome: str
    fault: str
    calls: int
    why: list[str]  # the rules' explanations


class ReasonRow(msgspec.Struct, frozen=True):
    reason: str  # the engine's, or Vapi's
    outcome: str
    fault: str
    calls: int


class Slot(msgspec.Struct, frozen=True):
    """A stretch of time: an hour, a day or a week."""

    at_ms: int
    calls: int
    talk_ms: float
    outcomes: dict[str, int]
    faults: dict[str, int]
    turn_p50: float | None
    turn_p95: float | None
    cost_usd: float | None


class HourRow(msgspec.Struct, frozen=True):
    """An hour of the week, Monday is 0."""

    weekday: int
    hour: int
    calls: int


class Interruptions(msgspec.Struct, frozen=True):
    """`cut` ended what the agent said; after `held` it went on with the frame that had not been heard."""

    cut: int
    held: int
    cut_by_reason: dict[str, int]
    held_by_reason: dict[str, int]
    silent: Spread  # from the caller's first voice to silence


class LongestSilence(msgspec.Struct, frozen=True):
    call_id: str
    owed_ms: float


class ToolInsight(msgspec.Struct, frozen=True):
    name: str
    asked: int
    failed: int
    took: Spread


class Costs(msgspec.Struct, frozen=True):
    """US dollars. `reported_calls`: Vapi's own figure; `estimated_calls`: ours, until Vapi's comes."""

    usd: float
    reported_calls: int
    estimated_calls: int
    per_call_usd: float | None
    per_minute_usd: float | None


class Insights(msgspec.Struct, frozen=True, kw_only=True):
    calls: int
    talk_ms: float
    duration: Spread
    since_ms: int | None  # the first call's moment, when none was asked for
    until_ms: int | None
    step_ms: int  # how long a slot is
    slots: list[Slot]
    hours: list[HourRow]
    outcomes: list[OutcomeRow]
    reasons: list[ReasonRow]  # the most frequent ones
    interruptions: Interruptions
    owed: Spread  # of each call the longest silence in which the caller waited
    longest_silences: list[LongestSilence]
    turns: Spread
    turn_bins: list[Bin]
    tools: list[ToolInsight]
    costs: Costs
    agents: list[str]  # of all calls, for a filter
    catching_up: bool  # the journal is still being read: older calls may be missing
