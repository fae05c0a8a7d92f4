"""The sums, in SQL over the rows of `web.insights.store`. Blocks; for the index's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from web.insights import types as t
from web.insights.store import Sample

__all__ = ["CALL_COLUMNS", "Filter", "call_rows", "insights"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MOST_HOURS, MOST_DAYS = 96, 120  # slots, before they become longer
MOST_SLOTS = 2_000
MOST_REASONS = 15
THURSDAY = 3  # 1970 began on one; Monday is 0
BIN_EDGES_MS = (0, 200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000, 4000, 6000, 10_000)
CALL_COLUMNS = (
    "call_id", "began_ms", "agent", "direction", "caller", "outcome", "fault", "why", "state", "reason", "duration_ms",
    "turns", "turn_p50_ms", "turn_p95_ms", "cut", "held", "tools", "tools_failed", "owed_ms", "cost_usd",
    "cost_reported", "marked",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """Which finished calls.

    Args:
        caller: how their masked number begins.
        offset_min: of the reader's clock from UTC, so that days and hours are theirs.
    """

    agent: str = ""
    outcome: str = ""
    fault: str = ""
    caller: str = ""
    reason: str = ""
    marked: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    offset_min: int = 0

    def where(self) -> tuple[str, dict[str, Any]]:
        given: dict[str, Any] = {"offset": self.offset_min * 60_000}
        found = ["1"]
        for name in ("agent", "fault", "reason"):
            if value := getattr(self, name):
                found.append(f"{name} = :{name}")
                given[name] = value
        if self.outcome:
            found.append("(outcome = :outcome OR state = :outcome)")
            given["outcome"] = self.outcome
        if self.caller:
            found.append("substr(caller, 1, length(:caller)) = :caller")
            given["caller"] = self.caller
        if self.marked is not None:
            found.append("marked = :marked")
            given["marked"] = int(self.marked)
        if self.since_ms is not None:
            found.append("began_ms >= :since")
            given["since"] = self.since_ms
        if self.until_ms is not None:
            found.append("began_ms < :until")
            given["until"] = self.until_ms
        return " AND ".join(found), given


@dataclass(slots=True)
class _Slot:
    calls: int = 0
    talk_ms: float = 0.0
    cost_usd: float | None = None
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)


def insights(connection: sqlite3.Connection, chosen: Filter, *, catching_up: bool = False) -> t.Insights:
    """Everything, in a handful of passes over the calls that were chosen."""
    where, given = chosen.where()

    def ask(query: str, **more: Any) -> Iterator[Any]:
        return connection.execute(query.replace("{where}", where), {**given, **more})

    first_ms, last_ms = next(ask("SELECT MIN(began_ms), MAX(began_ms) FROM insight_calls WHERE {where}"))
    since_ms = chosen.since_ms if chosen.since_ms is not None else first_ms
    until_ms = chosen.until_ms if chosen.until_ms is not None else None if last_ms is None else last_ms + 1
    step_ms = _step_ms(since_ms, until_ms)
    samples = _samples(ask)
    tools = _tools(samples)
    base_ms = chosen.offset_min * 60_000 + (THURSDAY * DAY_MS if step_ms > DAY_MS else 0)  # weeks begin on Mondays
    slots = _slots(ask, step_ms, base_ms)
    durations = list(ask("SELECT CAST(duration_ms AS INTEGER) AS ms, COUNT(*) FROM insight_calls WHERE {where} "
                         "GROUP BY ms ORDER BY ms"))  # fmt: skip
    outcomes = list(_outcomes(ask))
    silences = ask("SELECT call_id, owed_ms FROM insight_calls WHERE {where} AND owed_ms >= 1000 "
                   "ORDER BY owed_ms DESC LIMIT 5")  # fmt: skip
    turns = _together(slot.turns for slot in slots.values())
    return t.Insights(
        calls=sum(slot.calls for slot in slots.values()),
        talk_ms=sum(slot.talk_ms for slot in slots.values()),
        duration=_spread(durations),
        since_ms=since_ms,
        until_ms=until_ms,
        step_ms=step_ms,
        slots=list(_filled(slots, step_ms, base_ms, since_ms, until_ms)),
        hours=_hours(ask),
        outcomes=outcomes,
        reasons=[t.ReasonRow(*row) for row in ask(
            "SELECT reason, outcome, fault, COUNT(*) AS calls FROM insight_calls WHERE {where} "
            "GROUP BY reason, outcome, fault ORDER BY calls DESC, reason LIMIT :most", most=MOST_REASONS)],
        interruptions=_interruptions(samples),
        owed=_spread(samples.get((Sample.OWED, ""), [])),
        longest_silences=[t.LongestSilence(*row) for row in silences],
        turns=_spread(turns),
        turn_bins=_bins(turns),
        tools=tools,
        costs=_costs(ask),
        agents=[name for (name,) in connection.execute(
            "SELECT DISTINCT agent FROM insight_calls WHERE agent != '' ORDER BY agent LIMIT 200")],
        catching_up=catching_up,
    )  # fmt: skip


def call_rows(
    connection: sqlite3.Connection, chosen: Filter, after: tuple[int, int] | None, limit: int
) -> list[tuple[Any, ...]]:
    """Rows of `CALL_COLUMNS`, the newest first, each with its number behind them; `after`: (began_ms, n)."""
    where, given = chosen.where()
    if after is not None:
        where += " AND (began_ms, n) < (:after_ms, :after_n)"
        given |= {"after_ms": after[0], "after_n": after[1]}
    query = (
        f"SELECT {', '.join(CALL_COLUMNS)}, n FROM insight_calls WHERE {where} "  # noqa: S608 — our own words
        "ORDER BY began_ms DESC, n DESC LIMIT :limit"
    )
    return connection.execute(query, {**given, "limit": limit}).fetchall()


def _step_ms(since_ms: int | None, until_ms: int | None) -> int:
    span_ms = (until_ms or 0) - (since_ms or 0)
    if span_ms <= MOST_HOURS * HOUR_MS:
        return HOUR_MS
    return DAY_MS if span_ms <= MOST_DAYS * DAY_MS else 7 * DAY_MS


Ask = Any  # a query with {where} in it → its rows


def _slots(ask: Ask, step_ms: int, base_ms: int) -> dict[int, _Slot]:
    slots: dict[int, _Slot] = {}
    for at, outcome, fault, calls, talk_ms, usd in ask(
        "SELECT (began_ms + :base) / :step AS slot, outcome, fault, COUNT(*), SUM(duration_ms), SUM(cost_usd) "
        "FROM insight_calls WHERE {where} GROUP BY slot, outcome, fault", step=step_ms, base=base_ms,
    ):  # fmt: skip
        slot = slots.setdefault(at, _Slot())
        slot.calls += calls
        slot.talk_ms += talk_ms
        slot.cost_usd = slot.cost_usd if usd is None else (slot.cost_usd or 0.0) + usd
        slot.outcomes[outcome] = slot.outcomes.get(outcome, 0) + calls
        slot.faults[fault] = slot.faults.get(fault, 0) + calls
    # Slot and value in one number: SQLite sorts whole numbers in half the time of pairs.
    for key, count in ask(
        "SELECT ((c.began_ms + :base) / :step << 24) | min(s.value, 16777215) AS slot_value, SUM(s.count) "
        "FROM (SELECT n, began_ms FROM insight_calls WHERE {where}) AS c JOIN insight_samples AS s ON s.n = c.n "
        "WHERE s.kind = :kind GROUP BY slot_value ORDER BY slot_value",
        step=step_ms, base=base_ms, kind=Sample.TURN,
    ):  # fmt: skip
        slots[key >> 24].turns.append((key & 0xFFFFFF, count))
    return slots


def _filled(
    slots: Mapping[int, _Slot], step_ms: int, base_ms: int, since_ms: int | None, until_ms: int | None
) -> Iterator[t.Slot]:
    """Also the hours and days in which nobody called: a gap is something to see."""
    if not slots:
        return
    first, last = min(slots), max(slots)
    if since_ms is not None and until_ms is not None:
        asked_first, asked_last = (since_ms + base_ms) // step_ms, (until_ms - 1 + base_ms) // step_ms
        if max(last, asked_last) - min(first, asked_first) < MOST_SLOTS:
            first, last = min(first, asked_first), max(last, asked_last)
    every = range(first, last + 1) if last - first < MOST_SLOTS else sorted(slots)
    for at in every:
        slot = slots.get(at, _Slot())
        turns = _spread(slot.turns)
        yield t.Slot(
            at_ms=at * step_ms - base_ms,
            calls=slot.calls,
            talk_ms=slot.talk_ms,
            outcomes=slot.outcomes,
            faults=slot.faults,
            turn_p50=turns.p50,
            turn_p95=turns.p95,
            cost_usd=None if slot.cost_usd is None else round(slot.cost_usd, 6),
        )


def _hours(ask: Ask) -> list[t.HourRow]:
    rows = ask("SELECT (began_ms + :offset) / :hour % 168 AS hour, COUNT(*) FROM insight_calls WHERE {where} "
               "GROUP BY hour", hour=HOUR_MS)  # fmt: skip
    found = [t.HourRow((hour // 24 + THURSDAY) % 7, hour % 24, calls) for hour, calls in rows]
    return sorted(found, key=lambda row: (row.weekday, row.hour))


def _outcomes(ask: Ask) -> Iterator[t.OutcomeRow]:
    calls: dict[tuple[str, str], int] = {}
    whys: dict[tuple[str, str], list[str]] = {}
    for outcome, fault, why, count in ask(
        "SELECT outcome, fault, why, COUNT(*) AS calls FROM insight_calls WHERE {where} "
        "GROUP BY outcome, fault, why ORDER BY calls DESC, why"
    ):
        calls[outcome, fault] = calls.get((outcome, fault), 0) + count
        whys.setdefault((outcome, fault), []).append(why)
    for key in sorted(calls, key=lambda key: (-calls[key], key)):
        yield t.OutcomeRow(*key, calls[key], whys[key])


Counted = Iterable[tuple[int, int]]
"""Values, rising, and how often each."""


def _samples(ask: Ask) -> dict[tuple[int, str], list[tuple[int, int]]]:
    found: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for kind, name, value, count in ask(
        "SELECT kind, name, value, SUM(count) FROM insight_samples "
        "WHERE n IN (SELECT n FROM insight_calls WHERE {where}) AND kind != :turn "
        "GROUP BY kind, name, value ORDER BY kind, name, value", turn=Sample.TURN,
    ):  # fmt: skip
        found.setdefault((kind, name), []).append((value, count))
    return found


def _together(parts: Iterable[Counted]) -> list[tuple[int, int]]:
    sums: dict[int, int] = {}
    for part in parts:
        for value, count in part:
            sums[value] = sums.get(value, 0) + count
    return sorted(sums.items())


def _tools(samples: Mapping[tuple[int, str], Counted]) -> list[t.ToolInsight]:
    asked, failed = _sums(samples, Sample.TOOL_ASKED), _sums(samples, Sample.TOOL_FAILED)
    found = [
        t.ToolInsight(name, count, failed.get(name, 0), _spread(samples.get((Sample.TOOL, name), ())))
        for name, count in asked.items()
    ]
    return sorted(found, key=lambda tool: (-tool.asked, tool.name))


def _interruptions(samples: Mapping[tuple[int, str], Counted]) -> t.Interruptions:
    cut, held = _sums(samples, Sample.CUT), _sums(samples, Sample.HELD)
    silent = _spread(samples.get((Sample.SILENT, ""), ()))
    return t.Interruptions(sum(cut.values()), sum(held.values()), cut, held, silent)


def _costs(ask: Ask) -> t.Costs:
    usd, reported, estimated, talk_ms = next(ask(
        "SELECT TOTAL(cost_usd), TOTAL(cost_reported), COUNT(*) - TOTAL(cost_reported), TOTAL(duration_ms) "
        "FROM insight_calls WHERE {where} AND cost_usd IS NOT NULL"))  # fmt: skip
    calls = int(reported + estimated)
    return t.Costs(
        usd=round(usd, 6),
        reported_calls=int(reported),
        estimated_calls=int(estimated),
        per_call_usd=round(usd / calls, 6) if calls else None,
        per_minute_usd=round(usd / talk_ms * 60_000, 6) if talk_ms else None,
    )


def _sums(samples: Mapping[tuple[int, str], Counted], wanted: Sample) -> dict[str, int]:
    return {name: sum(count for _, count in found) for (kind, name), found in samples.items() if kind == wanted}


def _spread(counted: Counted) -> t.Spread:
    """Nearest rank over values that are counted, as `web.percentiles` does over values one by one."""
    values = list(counted)
    total = sum(count for _, count in values)
    if not total:
        return t.Spread(0, None, None, None, None)
    p50, p95, p99 = _ranked(values, [max(1, ceil(total * percent / 100)) for percent in (50, 95, 99)])
    return t.Spread(total, p50, p95, p99, float(values[-1][0]))


def _ranked(values: Sequence[tuple[int, int]], ranks: Sequence[int]) -> Iterator[float]:
    """The values at these ranks; both rise."""
    seen, at = 0, -1
    for rank in ranks:
        while seen < rank:
            at += 1
            seen += values[at][1]
        yield float(values[at][0])


def _bins(counted: Counted) -> list[t.Bin]:
    edges = [*BIN_EDGES_MS, None]
    counts = [0] * len(BIN_EDGES_MS)
    for value, count in counted:
        counts[max(0, sum(value >= edge for edge in BIN_EDGES_MS) - 1)] += count
    if not any(counts):
        return []
    return [t.Bin(BIN_EDGES_MS[n], edges[n + 1], counts[n]) for n in range(len(counts))]
