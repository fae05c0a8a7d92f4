"""A call again, from its journal: every fact at its recorded moment through the engine, and what came of it compared.

`Shadow` follows a journal record by record, so it can also watch a call that is alive. `replay` does a whole one,
`counterfactual` asks what another policy, or today's rules, would have made of the same facts. What the journal does
not have (sound) is not made up: see `actors.replay_actor` for how far the actors go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import msgspec

from engine import effects as f
from engine import events as e
from engine.call import Call, Policy
from engine.errors import CallscopeError
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.step import apply, opened
from engine.turns import deadline_of, name_event

EARLY_S = 1e-6  # a deadline that was heard sooner than this before its time was no deadline
MOST_DEADLINES = 200  # of one call without a fact between them
FACTS: dict[str, type[e.Event]] = {event.__name__: event for event in e.Event.__subclasses__()}


class NotReplayable(CallscopeError):
    """The journal does not have what a replay needs; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a call first went differently. `then` is the journal, `now` is what the engine says today."""

    at_ms: float
    phase: Phase
    then: str
    now: str
    seq: int = -1  # of the record; -1: the journal had ended


Told = Callable[[Call, e.Event, Call, tuple[f.Effect, ...]], None]


def fact_of(record: Record, opened_at: float) -> e.Event:
    """The fact that a record holds.

    Raises:
        NotReplayable: this Callscope knows no such fact.
    """
    kind = FACTS.get(record.name)
    if kind is None:
        raise NotReplayable(f"record {record.seq} holds a fact that is not known here: {record.name}")
    at = record.exact_s if record.exact_s is not None else opened_at + record.at_ms / 1000
    try:
        return msgspec.convert({**record.data, "at": at}, kind)
    except msgspec.ValidationError as misfit:
        raise NotReplayable(f"record {record.seq}, {record.name}, does not fit: {misfit}") from misfit


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first record of a journal says about how the call was decided."""

    opened_at: float
    policy: Policy
    assumed: str = ""  # what had to be guessed, for people


def opening_of(records: Sequence[Record], policy: Policy | None = None) -> Opening:
    """How the call began.

    Args:
        policy: instead of the recorded one; and for journals from before policies were recorded.

    Raises:
        NotReplayable: no beginning, or a policy that is not one of today's.
    """
    if not records or records[0].kind is not Kind.OPENED:
        raise NotReplayable("the journal does not begin with the call's first record")
    data = records[0].data
    opened_at = float(data.get("opened_at_s", 0.0))
    if policy is not None:
        return Opening(opened_at, policy)
    if "policy" not in data:
        return Opening(opened_at, Policy(), "its policy was not recorded: all defaults")
    try:
        return Opening(opened_at, msgspec.convert(data["policy"], Policy))
    except msgspec.ValidationError as misfit:
        raise NotReplayable(f"the recorded policy is not one of today's: {misfit}") from misfit


class Shadow:
    """The engine beside a journal: is shown its records in order, and says where they first differ.

    Args:
        told: is shown every step.
    """

    def __init__(self, opening: Opening, call_id: str = "replay", *, told: Told | None = None) -> None:
        self.opening = opening
        self.call, _ = opened(call_id, opening.policy, opening.opened_at)
        self.steps = 0
        self.effects = 0
        self.late_facts = 0
        self.largest_delay_ms = 0.0  # of a deadline: how late the event loop was
        self._told = told
        self._now = opening.opened_at
        self._expected: deque[tuple[Kind, str, dict[str, Any]]] = deque()
        self._exact = True

    def take(self, record: Record) -> Difference | None:
        """One record more."""
        match record.kind:
            case Kind.EVENT:
                return self._event(record)
            case Kind.PHASE | Kind.EFFECT:
                return self._came(record)
            case Kind.NOTE if record.name in ("Restarted", "GaveUp"):
                self._expected.clear()  # the actor crashed between a fact and its orders
            case Kind.NOTE if record.name == "LastResort":
                self.call = msgspec.structs.replace(self.call, phase=Phase.ENDED)  # ended by hand, not by a rule
            case Kind.CLOSED:
                return self._missing(record)
            case _:
                pass
        return None

    def _event(self, record: Record) -> Difference | None:
        missing = self._missing(record)
        if missing is not None:
            return missing
        if self.call.phase is Phase.ENDED:
            self.late_facts += 1
            return None
        fact = fact_of(record, self.opening.opened_at)
        due = deadline_of(self.call)
        if isinstance(fact, e.DeadlinePassed) and fact.at - due < -(EARLY_S if record.exact_s is not None else 1e-4):
            return self._difference(record, "DeadlinePassed", f"the next deadline is {_shown_due(self.call)}")
        # Of a deadline that was heard late, or that another fact overtook. What a fact makes overdue could not be heard
        # before that fact.
        self.largest_delay_ms = max(self.largest_delay_ms, (fact.at - max(due, self._now)) * 1000)
        self._now = fact.at
        before = self.call
        try:
            event = name_event(before, fact)
            self.call, effects = apply(before, event)
        except CallscopeError as refused:
            return self._difference(record, record.name, str(refused))
        self.steps += 1
        if self.call.phase is not before.phase:
            self._expected.append((Kind.PHASE, str(self.call.phase), {"from": str(before.phase)}))
        for effect in effects:
            self._expected.append((Kind.EFFECT, type(effect).__name__, msgspec.to_builtins(effect)))
        if self._told is not None:
            self._told(before, event, self.call, effects)
        return None

    def _came(self, record: Record) -> Difference | None:
        then = _shown(record.kind, record.name, record.data)
        if not self._expected:
            return self._difference(record, then, "nothing")
        kind, name, data = self._expected.popleft()
        self.effects += kind is Kind.EFFECT
        same = kind is record.kind and name == record.name and all(record.data.get(key) == data[key] for key in data)
        return None if same else self._difference(record, then, _shown(kind, name, data))

    def _missing(self, record: Record) -> Difference | None:
        if not self._expected:
            return None
        kind, name, data = self._expected.popleft()
        return self._difference(record, "nothing", _shown(kind, name, data))

    def _difference(self, record: Record, then: str, now: str) -> Difference:
        return Difference(record.at_ms, self.call.phase, then, now, record.seq)


def _shown_due(call: Call) -> str:
    due = deadline_of(call)
    return "never" if due == inf else f"at {(due - call.opened_at) * 1000:.1f} ms"


def _shown(kind: Kind, name: str, data: dict[str, Any]) -> str:
    """An order or a phase in a few words; what people said is not shown."""
    if kind is Kind.PHASE:
        return f"→ {name}"
    told = ", ".join(f"{key}={value}" for key, value in data.items() if key in _TOLD and value not in (None, ""))
    return f"{name}({told})"


_TOLD = frozenset({"reason", "kind", "n", "guard_s", "role", "respond", "name", "tool_call_id"})


@dataclass(slots=True)
class Replayed:
    """What became of one journal."""

    call_id: str
    steps: int = 0
    effects: int = 0
    late_facts: int = 0
    assumed: str = ""
    largest_delay_ms: float = 0.0
    differences: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.differences


def replay(records: Sequence[Record], *, policy: Policy | None = None, told: Told | None = None) -> Replayed:
    """Every fact of a journal at its recorded time, against today's rules: the same orders, or the first difference.

    Raises:
        NotReplayable: the journal does not have what it takes.
    """
    opening = opening_of(records, policy)
    shadow = Shadow(opening, records[0].call_id, told=told)
    found = Replayed(records[0].call_id, assumed=opening.assumed)
    for record in records[1:]:
        difference = shadow.take(record)
        if difference is not None:
            found.differences.append(difference)
            break
    found.steps, found.effects, found.late_facts = shadow.steps, shadow.effects, shadow.late_facts
    found.largest_delay_ms = shadow.largest_delay_ms
    return found


# --- what if ---------------------------------------------------------------------------------------------------------

SAME_MS = 60.0  # an order that comes so much sooner or later is the same order: an event loop's lateness is no policy


@dataclass(frozen=True, slots=True)
class Order:
    """An order or a change of phase with its moment, as a comparison of two lives needs it."""

    at_ms: float
    phase: Phase
    what: str


def orders_of(records: Sequence[Record]) -> list[Order]:
    """What was ordered in a call, by its journal."""
    found, phase = [], Phase.CONNECTING
    for record in records:
        if record.kind is Kind.PHASE:
            found.append(Order(record.at_ms, phase, f"→ {record.name}"))
            phase = Phase(record.name)
        elif record.kind is Kind.EFFECT:
            found.append(Order(record.at_ms, phase, _shown(record.kind, record.name, record.data)))
    return found


def counterfactual(records: Sequence[Record], policy: Policy) -> list[Order]:
    """What another policy would have ordered on the same facts. Deadlines come when that policy wants them.

    The world does not react: what the caller and Vapi did is what they did. From the first difference on this is a
    guess, and only the first one is worth telling.
    """
    opened_at = opening_of(records, policy).opened_at
    call, _ = opened(records[0].call_id, policy, opened_at)
    found: list[Order] = []
    now = opened_at
    for fact in _facts_until_closed(records, opened_at):
        was_due = isinstance(fact, e.DeadlinePassed)
        for _ in range(MOST_DEADLINES):
            due = max(deadline_of(call), now)  # one deadline may make another overdue
            if due >= (fact.at - EARLY_S if was_due else fact.at):
                break  # what is due at the very moment of a fact comes after it, unless the journal has it before
            now = due
            call = _ordered(call, e.DeadlinePassed(at=now), found)
        if was_due and deadline_of(call) <= fact.at + EARLY_S:  # one; between it and the next a fact may have come
            now = max(deadline_of(call), now)
            call = _ordered(call, e.DeadlinePassed(at=now), found)
        now = max(now, fact.at)
        if call.phase is Phase.ENDED:
            break
        if not was_due:
            call = _ordered(call, fact, found)
    return found


def _facts_until_closed(records: Iterable[Record], opened_at: float) -> Iterator[e.Event]:
    for record in records:
        if record.kind is Kind.CLOSED:
            return
        if record.kind is Kind.EVENT:
            yield fact_of(record, opened_at)


def _ordered(call: Call, fact: e.Event, found: list[Order]) -> Call:
    event = name_event(call, fact)
    after, effects = apply(call, event)
    at_ms = round((fact.at - call.opened_at) * 1000, 1)
    if after.phase is not call.phase:
        found.append(Order(at_ms, call.phase, f"→ {after.phase}"))
    for effect in effects:
        shown = _shown(Kind.EFFECT, type(effect).__name__, msgspec.to_builtins(effect))
        found.append(Order(at_ms, after.phase, shown))
    return after


def first_difference(then: Sequence[Order], now: Sequence[Order], *, within_ms: float = SAME_MS) -> Difference | None:
    """Where two lives of one call part: another order, or the same one at another time."""
    for old, new in zip(then, now, strict=False):
        if old.what != new.what or abs(old.at_ms - new.at_ms) > within_ms:
            at_ms = min(old.at_ms, new.at_ms)
            return Difference(
                at_ms, old.phase, f"{old.what} at {old.at_ms:.1f} ms", f"{new.what} at {new.at_ms:.1f} ms"
            )
    if len(then) == len(now):
        return None
    longer = then if len(then) > len(now) else now
    rest = longer[min(len(then), len(now))]
    shown = f"{rest.what} at {rest.at_ms:.1f} ms"
    old_text, new_text = (shown, "nothing") if longer is then else ("nothing", shown)
    return Difference(rest.at_ms, rest.phase, old_text, new_text)
