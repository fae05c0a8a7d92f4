"""A narrow row of each finished call, and its samples, beside the index's summaries and in the same file.

Sums are made by SQLite, which lets go of the interpreter while it works: fifty thousand calls are added up without the
calls' sound waiting for it. A row is only ever replaced by one that has seen more (`web.api.index` says why).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from web.insights.outcomes import verdict
from web.percentiles import percentile

if TYPE_CHECKING:
    from web.api.summary import Summary

__all__ = ["DROP", "SCHEMA", "Sample", "Selection", "clauses", "clear", "forget", "put"]


class Sample(IntEnum):
    """What a sample is of. `name` is of a tool or a reason, `value` milliseconds."""

    TURN = 1  # from the end of the caller's voice to the agent's first sound
    TOOL = 2  # from the request to the answer
    SILENT = 3  # from the onset of an interruption to silence
    OWED = 4  # the longest silence of a call in which the caller waited
    TOOL_ASKED = 5
    TOOL_FAILED = 6
    CUT = 7
    HELD = 8


SCHEMA = """
CREATE TABLE IF NOT EXISTS insight_calls (
    n INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    began_ms INTEGER NOT NULL,
    agent TEXT NOT NULL, outcome TEXT NOT NULL, fault TEXT NOT NULL, why TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL, caller TEXT NOT NULL, direction TEXT NOT NULL,
    marked INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    turns INTEGER NOT NULL, turn_p50_ms REAL, turn_p95_ms REAL,
    cut INTEGER NOT NULL, held INTEGER NOT NULL,
    tools INTEGER NOT NULL, tools_failed INTEGER NOT NULL,
    owed_ms REAL NOT NULL,
    cost_usd REAL, cost_reported INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS insight_calls_by_start ON insight_calls (began_ms, n);
CREATE TABLE IF NOT EXISTS insight_samples (
    n INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (n, kind, name, value)
) WITHOUT ROWID;
"""
DROP = "DROP TABLE IF EXISTS insight_calls; DROP TABLE IF EXISTS insight_samples;"

_PUT = """
INSERT INTO insight_calls (call_id, seq, began_ms, agent, outcome, fault, why, state, reason, caller, direction, marked,
    duration_ms, turns, turn_p50_ms, turn_p95_ms, cut, held, tools, tools_failed, owed_ms, cost_usd, cost_reported)
VALUES (:call_id, :seq, :began_ms, :agent, :outcome, :fault, :why, :state, :reason, :caller, :direction, :marked,
    :duration_ms, :turns, :turn_p50_ms, :turn_p95_ms, :cut, :held, :tools, :tools_failed, :owed_ms, :cost_usd,
    :cost_reported)
"""


class Selection(Protocol):
    """Which calls; empty is all."""

    @property
    def outcome(self) -> str: ...
    @property
    def fault(self) -> str: ...
    @property
    def caller(self) -> str: ...
    @property
    def marked(self) -> bool | None: ...


def put(connection: sqlite3.Connection, summaries: Iterable[Summary]) -> None:
    """Write the rows of those that have ended; one that lives after all has none. Inside the caller's transaction."""
    for summary in summaries:
        known = connection.execute("SELECT n, seq FROM insight_calls WHERE call_id = ?", (summary.id,)).fetchone()
        if known is not None:
            if known[1] > summary.seq:
                continue
            _delete(connection, known[0])
        if summary.ended:
            n = connection.execute(_PUT, _row(summary)).lastrowid
            rows = [(n, kind, name, value, count) for (kind, name, value), count in _samples(summary).items()]
            connection.executemany("INSERT INTO insight_samples VALUES (?, ?, ?, ?, ?)", rows)


def forget(connection: sqlite3.Connection, call_id: str) -> None:
    known = connection.execute("SELECT n FROM insight_calls WHERE call_id = ?", (call_id,)).fetchone()
    if known is not None:
        _delete(connection, known[0])


def clear(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM insight_calls")
    connection.execute("DELETE FROM insight_samples")


def clauses(wanted: Selection, given: dict[str, Any]) -> Iterator[str]:
    """Conditions on the list of calls; their parameters are put into `given`. Live calls have none of these yet."""
    if wanted.outcome:
        given["outcome"] = wanted.outcome
        yield "(outcome = :outcome OR call_id IN (SELECT call_id FROM insight_calls WHERE outcome = :outcome))"
    if wanted.fault:
        given["fault"] = wanted.fault
        yield "call_id IN (SELECT call_id FROM insight_calls WHERE fault = :fault)"
    if wanted.caller:
        given["caller"] = wanted.caller
        yield "call_id IN (SELECT call_id FROM insight_calls WHERE substr(caller, 1, length(:caller)) = :caller)"
    if wanted.marked is not None:
        given["marked"] = int(wanted.marked)
        yield "marked = :marked"


def _delete(connection: sqlite3.Connection, n: int) -> None:
    connection.execute("DELETE FROM insight_calls WHERE n = ?", (n,))
    connection.execute("DELETE FROM insight_samples WHERE n = ?", (n,))


def _row(summary: Summary) -> dict[str, Any]:
    facts = summary.insight
    reason, state = summary.reason or "", summary.outcome or ""
    rule = verdict(facts.ending(reason=reason, state=state, duration_ms=summary.duration_ms))
    turns = sorted(summary.latencies_ms)
    return {
        "call_id": summary.id,
        "seq": summary.seq,
        "began_ms": round(summary.began_wall_s * 1000),
        "agent": summary.agent or "",
        "outcome": rule.outcome.value,
        "fault": rule.fault.value,
        "why": rule.why,
        "state": state,
        "reason": reason,
        "caller": (summary.to_masked if summary.direction == "outbound" else summary.from_masked) or "",
        "direction": summary.direction or "",
        "marked": int(summary.marked),
        "duration_ms": summary.duration_ms,
        "turns": len(turns),
        "turn_p50_ms": percentile(turns, 50) if turns else None,
        "turn_p95_ms": percentile(turns, 95) if turns else None,
        "cut": sum(facts.cut.values()),
        "held": sum(facts.held.values()),
        "tools": sum(tool.asked for tool in facts.tools.values()),
        "tools_failed": sum(tool.failed for tool in facts.tools.values()),
        "owed_ms": facts.silence.longest_ms,
        "cost_usd": facts.cost_usd,
        "cost_reported": int(facts.cost_reported),
    }


def _samples(summary: Summary) -> dict[tuple[Sample, str, int], int]:
    """Whole milliseconds: nothing that is measured here is known better."""
    facts = summary.insight
    found: dict[tuple[Sample, str, int], int] = {}

    def add(kind: Sample, name: str, values: Sequence[float]) -> None:
        for value in values:
            key = (kind, name, round(value))
            found[key] = found.get(key, 0) + 1

    add(Sample.TURN, "", summary.latencies_ms)
    add(Sample.SILENT, "", summary.silent_ms)
    add(Sample.OWED, "", [facts.silence.longest_ms])
    for name, tool in facts.tools.items():
        add(Sample.TOOL, name, tool.took_ms)
        found[Sample.TOOL_ASKED, name, 0] = tool.asked
        found[Sample.TOOL_FAILED, name, 0] = tool.failed
    found |= {(Sample.CUT, reason, 0): count for reason, count in facts.cut.items()}
    found |= {(Sample.HELD, reason, 0): count for reason, count in facts.held.items()}
    return found
