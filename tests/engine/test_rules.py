"""The rules table, walked pair by pair."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.call import Call
from engine.diagram import build_machine
from engine.errors import NotInThisPhase
from engine.events import Event
from engine.phases import Phase
from engine.rules import EVENTS, NAMED_ONLY_IN, ONLY_BEFORE_NAMING, RULE_FOR, RULES, STAY
from engine.step import apply

PAIRS = [(phase, event) for phase in Phase for event in EVENTS]
COVERED = [pair for pair in PAIRS if pair in RULE_FOR]


def sample(event: type[Event], at: float = 5.0) -> Event:
    """One event of this type, with plausible facts."""
    facts: dict[str, Any] = {
        "stream_sid": "MZ1", "reason": "why", "stopped": True, "status": "completed", "digit": "5", "how": "asked",
        "agent_call_id": "a1", "why": "why", "text": "hello there", "final": False, "tool_call_id": "t1",
        "name": "check", "arguments": {}, "ok": True, "took_ms": 3.0, "ended_reason": "done", "utterance": 1,
        "heard_ms": 900.0, "confidence": None, "age_s": None, "ours": False, "voiced_ms": 500.0, "digits": "42",
        "onset_at": 4.9, "number": "+15550100", "words": "Bye.", "fact": "StreamStarted", "effect": "read",
        "goes_on": False,
    }  # fmt: skip
    names = [field.name for field in msgspec.structs.fields(event) if field.name != "at"]
    return event(at=at, **{name: facts[name] for name in names})


def test_every_pair_has_one_rule_or_is_impossible_by_name() -> None:
    """Whatever happens in whatever phase, there is one answer."""
    twice = [pair for pair, count in Counter((row.phase, row.event) for row in RULES).items() if count > 1]
    assert not twice
    for phase, event in PAIRS:
        possible = event not in NAMED_ONLY_IN or phase in NAMED_ONLY_IN[event]
        assert ((phase, event) in RULE_FOR) == possible, (phase, event.__name__)


def test_all_events_are_known_to_the_table() -> None:
    """No event was written that the table has never heard of."""
    assert set(EVENTS) | ONLY_BEFORE_NAMING == set(Event.__subclasses__())


def test_an_impossible_pair_is_our_mistake() -> None:
    """A name in a phase where it cannot be is refused loudly."""
    with pytest.raises(NotInThisPhase, match="AgentTalksOn has no place in listening"):
        apply(Call("c", phase=Phase.LISTENING), e.AgentTalksOn(at=1.0))


def test_every_phase_has_a_way_to_the_end() -> None:
    """No call can get stuck: from each phase some events lead to `ended`."""
    ways: dict[Phase, set[Phase]] = {phase: set() for phase in Phase}
    for row in RULES:
        if row.to is not STAY:
            ways[row.phase].add(row.to)
    for start in Phase:
        reached, frontier = {start}, [start]
        while frontier:
            for phase in ways[frontier.pop()] - reached:
                reached.add(phase)
                frontier.append(phase)
        assert Phase.ENDED in reached, start


def test_every_phase_is_reachable() -> None:
    """No phase is only on paper."""
    assert {row.to for row in RULES if row.to is not STAY} | {Phase.CONNECTING} == set(Phase)


def test_the_end_is_absorbing() -> None:
    """Nothing revives a call that has ended."""
    assert all(row.to is STAY for row in RULES if row.phase is Phase.ENDED)
    for event in EVENTS:
        if (Phase.ENDED, event) in RULE_FOR:
            _, effects = apply(Call("c", phase=Phase.ENDED), sample(event))
            assert effects == (), event.__name__


@pytest.mark.parametrize(("phase", "event"), COVERED, ids=lambda thing: getattr(thing, "__name__", str(thing)))
def test_transitions_agrees_with_step(phase: Phase, event: type[Event]) -> None:
    """The library that draws the picture and the function that runs the calls go to the same phase."""

    class Model:
        state: str

    machine, model = build_machine(), Model()
    machine.add_model(model, initial=str(phase))
    assert model.trigger(event.__name__) is True  # type: ignore[attr-defined]
    call, _ = apply(Call("c", phase=phase), sample(event))
    assert model.state == call.phase


def test_what_stays_keeps_its_clock_and_what_moves_starts_it() -> None:
    """Entering a phase starts its deadline; staying lets it run."""
    for phase, event in COVERED:
        call, _ = apply(Call("c", phase=phase, entered_at=1.0), sample(event))
        moved = RULE_FOR[phase, event].to is not STAY
        assert call.entered_at == (5.0 if moved else 1.0), (phase, event.__name__)


def test_call_state_is_plain_versioned_data() -> None:
    """A call can be written down and read back on another machine."""
    call = Call("c", phase=Phase.SPEAKING, tools=("t1",), confirmed_at=2.5, reason="x")
    text = msgspec.json.encode(call)
    assert msgspec.json.decode(text, type=Call) == call
    assert msgspec.json.decode(text)["v"] == 2
