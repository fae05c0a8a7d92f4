"""The search for traps: it finds none in the rules that run, and finds each kind where one is put in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import pytest

from engine import call as calls
from engine import events as e
from engine import model_check, turns
from engine.call import Call
from engine.model_check import explore, table_faults
from engine.model_facts import facts_in
from engine.phases import Phase
from engine.rules import EVENTS, NAMED_ONLY_IN, RULE_FOR, RULES, STAY, rule
from engine.turns import Due

ENOUGH = 400  # states: a second


def test_the_rules_that_run_have_no_fault() -> None:
    """No call can get stuck, whatever the legs say in whatever order."""
    assert table_faults() == []
    found = explore(most_states=ENOUGH)
    assert found.faults == [] and found.states == ENOUGH and not found.finished
    assert found.transitions > 20_000 and len(found.fired) > 200


def test_no_fact_is_forgotten() -> None:
    """Whatever a leg may say is played."""
    names = {"LateMark", "LastWordsHeard", "LastToolAnswered", "PlaybackDoneToolPending", "StreamLost"}  # by name only
    names |= {"CallerSpoke", "CallerSaid", "CallerMurmured", "VoiceNoted"}
    raw = {event.__name__ for event in EVENTS if event not in NAMED_ONLY_IN} - names | {"CallerTranscript"}
    assert {type(fact).__name__ for fact in facts_in(Call("c"), 1.0)} == raw


def test_the_search_is_the_same_each_time() -> None:
    """What it reports can be looked into tomorrow."""
    one, other = explore(most_states=60), explore(most_states=60)
    assert str(one) == str(other) and one.fired == other.fired


def test_a_rule_that_is_missing_or_double_or_misplaced() -> None:
    """The pair is named."""
    without = [row for row in RULES if (row.phase, row.event) != (Phase.SPEAKING, e.CallerVoice)]
    assert table_faults(without) == ["speaking: no rule for CallerVoice"]
    assert table_faults([*RULES, RULE_FOR[Phase.SPEAKING, e.CallerVoice]]) == ["speaking: 2 rules for CallerVoice"]
    misplaced = rule(Phase.ENDED, e.KeysTyped, STAY, lambda call, event: ())
    assert table_faults([*RULES, misplaced]) == ["ended: a rule for KeysTyped, a name that is not given there"]


def test_a_phase_that_nothing_leads_to() -> None:
    """It is only on paper."""
    dead = [replace(row, to=Phase.LISTENING) if row.to is Phase.INTERRUPTED else row for row in RULES]
    assert table_faults(dead) == ["interrupted: a dead phase, no rule leads there"]


def test_a_phase_that_time_alone_never_ends() -> None:
    """Nobody says anything any more, and the call would wait for ever; so would every call that gets there."""
    trap = [
        replace(row, to=STAY) if (row.phase, row.event) == (Phase.TRANSFERRING, e.HandOverOverdue) else row
        for row in RULES
    ]
    faults = table_faults(trap)
    assert "transferring: no deadline leads out of it" in faults
    assert "listening: a trap, deadlines alone never lead to ended" in faults


def test_an_end_that_is_none() -> None:
    """Whatever leads out of it is named."""
    risen = [
        replace(row, to=Phase.LISTENING) if (row.phase, row.event) == (Phase.ENDED, e.CallerVoice) else row
        for row in RULES
    ]
    assert table_faults(risen) == ["ended: CallerVoice leads out of it"]


def test_a_rule_that_leads_to_its_own_phase() -> None:
    """It would start the clock of the phase anew, and a deadline could be put off for ever."""
    again = [
        replace(row, to=Phase.LISTENING) if (row.phase, row.event) == (Phase.LISTENING, e.CallerVoice) else row
        for row in RULES
    ]
    assert table_faults(again) == ["listening: CallerVoice leads to itself and starts its clock anew: it should stay"]


def test_a_state_without_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search tells the pair and how a call gets there."""
    monkeypatch.delitem(cast(dict[object, object], RULE_FOR), (Phase.TRANSFERRING, e.StreamStarted))
    faults = explore(most_states=ENOUGH).faults
    assert faults[0].startswith("StreamStarted has no place in transferring, after opened, ")


def _without(name: str, phase: Phase) -> Callable[[Call], Iterator[Due]]:
    """This phase's waits, but for one."""
    waits = turns.WAITS_IN[phase]
    return lambda call: (one for one in waits(call) if type(one[1](0.0)).__name__ != name)


def test_a_state_without_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait without a time-out is found in the states, where the table by itself looks well."""
    monkeypatch.setitem(turns.WAITS_IN, Phase.TRANSFERRING, _without("HandOverOverdue", Phase.TRANSFERRING))
    faults = explore(most_states=ENOUGH).faults
    assert faults[0].startswith("transferring waits without a time-out, after opened, ")


def test_a_deadline_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that is forgotten makes a deadline pass again at once: the phone line would burn a processor."""
    monkeypatch.setitem(
        cast(dict[object, object], calls._NOTES), e.HoldingDue, lambda call, event: {"said": {"holding": 1}}
    )
    assert "connecting: HoldingDue passes again and again, after opened, " in explore(most_states=ENOUGH).faults[0]


def test_an_end_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest duration of a call is kept, whatever else it waits for."""
    monkeypatch.setattr(model_check, "HAND_OVER_S", -30.0)
    assert "s too late, left alone after opened" in explore(most_states=40).faults[0]


def test_the_report_tells_what_was_not_fired() -> None:
    """A reviewer sees how far was looked."""
    told = str(explore(most_states=8)).splitlines()
    assert told[0].startswith("8 states (then the search was stopped), ")
    assert "  not fired: interrupted on AgentTalksOn" in told
