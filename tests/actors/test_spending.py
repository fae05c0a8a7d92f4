"""What calls cost: a call and a day have limits, Vapi's report corrects the estimate, a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.journal_sqlite import SqliteJournal
from actors.ports import Plane, VapiCalls
from actors.spending import DAY_S, NOTE, Spending, earlier, per_call_s
from actors.world.agent import AgentPlan, Reply
from actors.world.caller import CallerPlan
from actors.world.house import FALLBACK, CallscopeHouse
from actors.world.world import CallPlan, Lived, open_world
from engine.agent import Agent, Limits
from engine.journal import Kind, Record

NOON = 20_000 * DAY_S + DAY_S / 2.0


@dataclass
class Clock:
    now_s: float = NOON

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Purse:
    """A purse with its clock."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.spending = Spending(wall_clock=self.clock)


def test_a_day_has_its_limit() -> None:
    """Whoever rings once it is reached is declined, until midnight."""
    purse, limits = Purse(), Limits(spend_usd_per_day=1.0, usd_per_minute=0.5)
    assert purse.spending.admit("a", limits)
    purse.clock.now_s += 90
    assert purse.spending.closed("a", used=True).usd == pytest.approx(0.75)
    assert purse.spending.today_usd == pytest.approx(0.75)
    assert not purse.spending.admit("b", limits)  # a minute of it would be too much
    purse.clock.now_s += DAY_S
    assert purse.spending.today_usd == 0
    assert purse.spending.admit("b", limits)


def test_admission_reserves() -> None:
    """A hundred that ring at once cannot all have the last dollar."""
    purse, limits = Purse(), Limits(spend_usd_per_day=5.0, spend_usd_per_call=1.0)
    assert sum(purse.spending.admit(f"call-{n}", limits) for n in range(100)) == 5
    purse.spending.closed("call-0", used=False)  # it never reached Vapi: its dollar is free again
    assert purse.spending.admit("call-100", limits)
    assert not purse.spending.admit("call-101", limits)


def test_the_report_corrects_the_estimate() -> None:
    """Early or late, once or twice; a cost of nothing is one that is not settled."""
    purse, limits = Purse(), Limits(usd_per_minute=0.6)
    for call in ("late", "early"):
        purse.spending.admit(call, limits)
    assert purse.spending.reported("early", 0.11)
    purse.clock.now_s += 60
    assert purse.spending.closed("late", used=True).usd == pytest.approx(0.6)
    charge = purse.spending.closed("early", used=True)
    assert (charge.usd, charge.reported) == (0.11, True)
    assert purse.spending.today_usd == pytest.approx(0.71)
    assert not purse.spending.reported("late", 0.0)
    assert not purse.spending.reported("late", None)
    assert not purse.spending.reported("nobody", 1.0)
    for usd in (0.4, 0.45):
        assert purse.spending.reported("late", usd)
    assert purse.spending.today_usd == pytest.approx(0.56)


def test_a_report_after_midnight_is_yesterdays() -> None:
    """It counts for the day in which the call was admitted."""
    purse = Purse()
    purse.spending.admit("a", Limits())
    purse.spending.closed("a", used=True)
    purse.clock.now_s += DAY_S
    purse.spending.reported("a", 9.0)
    assert purse.spending.today_usd == 0


@given(st.lists(st.tuples(st.sampled_from(["admit", "close", "report", "wait"]), st.integers(0, 5)), max_size=60))
def test_the_days_limit_holds_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Never is a call admitted whose reserve does not fit; what is counted is never negative."""
    purse, limits = Purse(), Limits(spend_usd_per_day=3.0, spend_usd_per_call=1.0, usd_per_minute=1.0)
    live: set[str] = set()
    for number, (what, n) in enumerate(steps):
        if what == "admit":
            before = purse.spending.today_usd
            if purse.spending.admit(f"{number}", limits):
                live.add(f"{number}")
                assert before + 1.0 <= 3.0 + 1e-6
                assert len(live) <= 3
        elif what == "wait":
            purse.clock.now_s += n * 10
        elif live:
            call = sorted(live)[n % len(live)]
            if what == "close":
                live.remove(call)
                purse.spending.closed(call, used=True)
            else:
                purse.spending.reported(call, n / 10)
        assert purse.spending.today_usd >= -1e-9


def test_workers_share_the_day() -> None:
    """None sees what the others spend, so each has its part."""
    purse = Spending(wall_clock=Clock(), workers=4)
    limits = Limits(spend_usd_per_day=4.0, spend_usd_per_call=1.0)
    assert [purse.admit(f"{n}", limits) for n in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [(Limits(), None), (Limits(spend_usd_per_call=0.3, usd_per_minute=0.15), 120.0)],
)
def test_when_a_call_has_cost_enough(limits: Limits, seconds: float | None) -> None:
    """By the estimate, since Vapi tells only afterwards."""
    assert per_call_s(limits) == seconds


# --- across a restart -----------------------------------------------------------------------------------------------


async def write(path: Path, *records: Record) -> None:
    async with trio.open_nursery() as nursery:
        journal = SqliteJournal(path)
        await nursery.start(journal.run)
        for record in records:
            journal.append(record)
        await journal.flush()
        nursery.cancel_scope.cancel()


def lived(
    call: str, *, wall_s: float, spent: tuple[float, ...] = (), minutes: float = 1.0, closed: bool = True
) -> Iterator[Record]:
    """The records of one call."""
    rows: list[tuple[Kind, str, dict[str, object]]] = [(Kind.OPENED, "Opened", {"agent": "x"}), (Kind.NOTE, "Line", {})]
    rows += [(Kind.CLOSED, "Closed", {"reason": "over"})] * closed
    rows += [(Kind.NOTE, NOTE, {"usd": usd, "how": "estimate"}) for usd in spent]
    for seq, (kind, name, data) in enumerate(rows):
        yield Record(call, seq, minutes * 60_000 * (seq > 0), wall_s, kind, name, data)


async def test_a_restart_reads_the_journal(tmp_path: Path) -> None:
    """Today's calls by their last charge, one that was killed by its length; yesterday's are yesterday's."""
    path = tmp_path / "journal.sqlite3"
    assert earlier(path, Limits(), NOON) == []
    await write(
        path,
        *lived("call-reported", wall_s=NOON - 60, spent=(0.5, 0.4)),
        *lived("call-killed", wall_s=NOON - 600, minutes=2.0, closed=False),
        *lived("call-yesterday", wall_s=NOON - DAY_S, spent=(7.0,)),
        *lived("call-uncounted", wall_s=NOON - 30),
    )
    found = dict(earlier(path, Limits(usd_per_minute=0.2), NOON))
    assert found == {"call-reported": 0.4, "call-killed": pytest.approx(0.4)}
    spending = Spending(wall_clock=Clock())
    spending.restore(found.items())
    assert spending.today_usd == pytest.approx(0.8)
    assert spending.reported("call-killed", 0.1)  # its report comes to the new process
    assert spending.today_usd == pytest.approx(0.5)


# --- with real calls ------------------------------------------------------------------------------------------------

TALKS = CallPlan(
    caller=CallerPlan(stays_ms=120_000),
    agent=AgentPlan(first_message="Good evening.", replies=(Reply("Yes."),)),
    longest_s=120.0,
)


class Spender(CallscopeHouse):
    """A house whose days pass with the call's own clock."""

    def __init__(self, plane: Plane, vapi_calls: VapiCalls, limits: Limits) -> None:
        super().__init__(plane, vapi_calls, agent=Agent("world", assistant_id="a", fallback=FALLBACK, limits=limits))
        self.supervisor.spending = Spending(wall_clock=lambda: NOON + trio.current_time())


async def live(limits: Limits, calls: int) -> tuple[list[Lived | None], Spender]:
    """One call after the other."""
    async with open_world(lambda plane, vapi: Spender(plane, vapi, limits)) as world:
        results = [await world.live(TALKS) for _ in range(calls)]
        house = world.house
        assert isinstance(house, Spender)
    return results, house


async def test_a_call_at_its_limit_says_goodbye(autojump_clock: MockClock) -> None:
    """After the minutes that its money buys; what it cost is in the journal."""
    limits = Limits(spend_usd_per_call=0.25, usd_per_minute=1.0, idle_s=100.0)
    (call,), _ = await live(limits, 1)
    assert call is not None
    assert 14_900 <= call.ended_ms <= 16_000
    assert not call.hung_up
    assert call.words == "We have to end the call here. Goodbye."
    (closed,) = [record for record in call.records if record.kind is Kind.CLOSED]
    assert closed.data["reason"] == "spend limit"
    (spent,) = [record for record in call.records if record.name == NOTE]
    assert spent.data == {"usd": pytest.approx(0.25, abs=0.03), "how": "estimate"}


async def test_a_day_at_its_limit_declines(autojump_clock: MockClock) -> None:
    """The third caller hears the fallback; nobody who is talking is cut off for it."""
    limits = Limits(spend_usd_per_call=0.25, spend_usd_per_day=0.6, usd_per_minute=1.0, idle_s=100.0)
    calls, house = await live(limits, 3)
    assert [call is not None for call in calls] == [True, True, False]
    assert house.supervisor.statistics.declined == 1
    assert house.supervisor.spending.today_usd == pytest.approx(0.5, abs=0.05)


async def test_without_a_limit_nothing_is_noted(autojump_clock: MockClock) -> None:
    """The journal holds what somebody asked for."""
    (call,), house = await live(Limits(idle_s=12.0), 1)
    assert call is not None
    assert [record for record in call.records if record.name == NOTE] == []
    assert house.supervisor.spending.today_usd > 0
