"""The short form of `python -m tests.actors.tools.interleavings`."""

from __future__ import annotations

import pytest

from actors import tool_same
from engine import ledger
from engine.call import Call
from engine.ledger import Ruling
from engine.tools import ToolEffect
from tests.actors.tools.interleavings import Naive, Ours, Setting, explore, settings

COMMIT = Setting(ToolEffect.COMMIT, longest=3)


def test_no_order_of_happenings_books_twice_or_loses_a_result() -> None:
    """Whoever cuts in, hangs up, asks twice or crashes, and whenever: one booking, and the caller hears of it."""
    found = explore(settings(quick=True), Ours)
    assert {name: report.examples for name, report in found.items() if report.broken} == {}
    assert sum(report.lived for report in found.values()) > 3000, "the orders are really lived"


def test_the_tutorials_handler_does() -> None:
    """The same orders with a handler that runs the tool in the webhook: it books twice, and what was called off."""
    found = explore([COMMIT, Setting(ToolEffect.COMMIT, happens_early=True, longest=3)], Naive)
    broken = found[str(COMMIT)].broken
    assert broken["double effect"] and broken["effect of a discarded turn"]
    assert found["commit happens early"].broken["lost result"]


def _at_once(call: Call, effect: ToolEffect, asked_at: float, *, asked_twice: bool = False) -> Ruling:
    return Ruling.RUN


def test_the_laws_are_broken_without_the_ledgers_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that lets everything begin at once is found out."""
    monkeypatch.setattr(ledger, "ruling", _at_once)
    assert explore([COMMIT], Ours)[str(COMMIT)].broken["effect of a discarded turn"]


def test_the_laws_are_broken_when_the_same_counts_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that takes a new id for a new wish is found out."""
    monkeypatch.setattr(tool_same.SameAgain, "_counts", lambda self, one, run: False)
    twice = Setting(ToolEffect.COMMIT, twice=True, longest=3)
    assert explore([twice], Ours)[str(twice)].broken["double effect"]
