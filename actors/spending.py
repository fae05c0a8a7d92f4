"""What the calls of this process cost, and whether there is money for one more.

A call that lives costs what its minutes are taken to cost; Vapi's report corrects that when it comes, some time after
the end (reference/vapi.md §14.1: at the end itself the cost may still be 0). A call counts for the UTC day in which it
was admitted. Admission reserves: a hundred calls that ring at once cannot all have the day's last dollar.

All of it is memory of one process, changed without a wait in between; after a restart `earlier` gives back what the
journal knows. Several workers share a limit evenly, since none sees what the others spend.
"""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from actors.journal_reader import NoJournal, reading
from engine.agent import Limits
from engine.journal import Record, decode

__all__ = ["NOTE", "Charge", "Spending", "earlier", "per_call_s"]

DAY_S = 86_400
MOST_UNSETTLED = 2_000  # ended calls whose report may still come
NOTE = "Spent"


@dataclass(slots=True)
class Charge:
    """What one call costs, as far as it is known."""

    day: int
    usd: float
    reported: bool = False


@dataclass(slots=True)
class _Live:
    day: int
    since_s: float
    reserved_usd: float
    usd_per_minute: float
    reported_usd: float | None = None


class Spending:
    """The purse of one process.

    Args:
        wall_clock: seconds since 1970: a day is a day of the calendar.
        workers: how many processes share the day's limit.
    """

    def __init__(self, *, wall_clock: Callable[[], float] = time.time, workers: int = 1) -> None:
        self._wall_clock, self._workers = wall_clock, workers
        self._live: dict[str, _Live] = {}
        self._ended: OrderedDict[str, Charge] = OrderedDict()
        self._day, self._spent_usd = self._today(), 0.0

    @property
    def today_usd(self) -> float:
        """What today's calls have cost so far, those that live by estimate."""
        self._turn_over()
        return self._spent_usd + sum(self._so_far(one) for one in self._live.values() if one.day == self._day)

    def restore(self, charges: Iterable[tuple[str, float]]) -> None:
        """Count what earlier processes spent today: (call, dollars)."""
        for call_id, usd in charges:
            self._settle(call_id, Charge(self._day, usd / self._workers))

    def admit(self, call_id: str, limits: Limits) -> bool:
        """Reserve money for a call that rings; False when the day's is spent."""
        self._turn_over()
        reserve = limits.spend_usd_per_call or limits.usd_per_minute
        limit = limits.spend_usd_per_day
        if limit is not None:
            held = sum(max(one.reserved_usd, self._so_far(one)) for one in self._live.values() if one.day == self._day)
            if self._spent_usd + held + reserve > limit / self._workers + 1e-9:
                return False
        self._live[call_id] = _Live(self._day, self._wall_clock(), reserve, limits.usd_per_minute)
        return True

    def closed(self, call_id: str, *, used: bool) -> Charge:
        """The call is over. `used`: Vapi had a part in it; else it cost nothing there."""
        live = self._live.pop(call_id)
        reported = live.reported_usd
        charge = Charge(live.day, self._so_far(live) if used else 0.0)
        if reported is not None:
            charge = Charge(live.day, reported, reported=True)
        self._settle(call_id, charge)
        return charge

    def reported(self, call_id: str, usd: float | None) -> bool:
        """Vapi's own figure, which replaces the estimate; no figure, or 0, says nothing. Whether it counts."""
        if not usd or usd < 0:
            return False
        if (live := self._live.get(call_id)) is not None:
            live.reported_usd = usd
            return True
        known = self._ended.get(call_id)
        if known is None:
            return False
        if known.day == self._day:
            self._spent_usd += usd - known.usd
        known.usd, known.reported = usd, True
        return True

    def _settle(self, call_id: str, charge: Charge) -> None:
        self._turn_over()
        if charge.day == self._day:
            self._spent_usd += charge.usd
        self._ended[call_id] = charge
        while len(self._ended) > MOST_UNSETTLED:
            self._ended.popitem(last=False)

    def _so_far(self, live: _Live) -> float:
        return max(0.0, self._wall_clock() - live.since_s) / 60 * live.usd_per_minute

    def _turn_over(self) -> None:
        today = self._today()
        if today != self._day:
            self._day = today
            self._spent_usd = sum(one.usd for one in self._ended.values() if one.day == today)

    def _today(self) -> int:
        return int(self._wall_clock() // DAY_S)


def per_call_s(limits: Limits) -> float | None:
    """After so many seconds a call has cost what it may, by the estimate; None without such a limit."""
    if limits.spend_usd_per_call is None:
        return None
    return limits.spend_usd_per_call / limits.usd_per_minute * 60


def earlier(path: Path, limits: Limits, now_s: float) -> list[tuple[str, float]]:
    """What the journal says of today's calls: their last charge; by its length one that was killed. Blocks, briefly.

    No journal is no spending. A journal that cannot be read is `BadSettings`, as everywhere.
    """
    midnight_s = now_s // DAY_S * DAY_S
    try:
        with reading(path) as connection:
            return [*_charged(connection, midnight_s), *_killed(connection, midnight_s, limits)]
    except NoJournal:
        return []


def _charged(connection: sqlite3.Connection, since_s: float) -> Iterable[tuple[str, float]]:
    query = """
        SELECT records.line FROM calls JOIN records USING (call_id)
        WHERE calls.started_wall_s >= ? AND instr(records.line, ?) ORDER BY records.row"""
    found = (decode(line) for (line,) in connection.execute(query, (since_s, f'"name":"{NOTE}"'.encode())))
    last: dict[str, float] = {one.call_id: float(one.data["usd"]) for one in found if _is_charge(one)}
    return last.items()


def _killed(connection: sqlite3.Connection, since_s: float, limits: Limits) -> Iterable[tuple[str, float]]:
    """Calls of a process that died: nobody closed them."""
    query = """
        SELECT line FROM records WHERE row IN (
            SELECT max(records.row) FROM calls JOIN records USING (call_id)
            WHERE calls.started_wall_s >= ? AND calls.status = 'open' GROUP BY call_id)"""
    for (line,) in connection.execute(query, (since_s,)):
        last = decode(line)
        if last.name != NOTE:
            yield last.call_id, max(0.0, last.at_ms) / 60_000 * limits.usd_per_minute


def _is_charge(record: Record) -> bool:
    return record.name == NOTE and isinstance(record.data.get("usd"), int | float)
