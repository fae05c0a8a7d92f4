"""The machine, searched for what must not be: dead phases, traps, waits without a time-out, pairs without a rule. Pure.

`table_faults` reads the table. `explore` plays it: from a call that has just opened, every fact of `engine.model_facts`
in every state found, twice as if soon and late, and the deadline. States that differ only in what can hardly matter
(by how many milliseconds, which words) count as one, so that the search ends; the first of each is what is really
played. That is a search, not a proof: what it finds is real, and what it reports is how far it looked.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from engine import events as e
from engine.call import Call, Policy
from engine.errors import NotInThisPhase
from engine.model_facts import GAPS_S, POLICIES, coarse, facts_in, fine
from engine.phase_tables import deadlines_of
from engine.phases import Phase
from engine.rules import EVENTS, NAMED_ONLY_IN, RULES, STAY, Rule
from engine.step import apply, opened
from engine.turns import HAND_OVER_S, deadline_of, name_event

MOST_WAITS = 2000  # deadlines in a row without a fact: a call that has not ended by then does not
MOST_FAULTS = 20  # told; a broken rule breaks thousands of states


# --- the table ------------------------------------------------------------------------------------------------------


def table_faults(rules: Iterable[Rule] = RULES) -> list[str]:
    """What is wrong with the table by itself, in words."""
    rules = tuple(rules)
    return [*_pair_faults(rules), *_way_faults(rules), *_end_faults(rules)]


def _pair_faults(rules: tuple[Rule, ...]) -> Iterator[str]:
    count = Counter((row.phase, row.event) for row in rules)
    for phase in Phase:
        for event in EVENTS:
            possible = event not in NAMED_ONLY_IN or phase in NAMED_ONLY_IN[event]
            rows = count[phase, event]
            if possible and not rows:
                yield f"{phase}: no rule for {event.__name__}"
            elif rows and not possible:
                yield f"{phase}: a rule for {event.__name__}, a name that is not given there"
            elif rows > 1:
                yield f"{phase}: {rows} rules for {event.__name__}"


def _way_faults(rules: tuple[Rule, ...]) -> Iterator[str]:
    every: dict[Phase, set[Phase]] = defaultdict(set)
    timed: dict[Phase, set[Phase]] = defaultdict(set)
    for row in rules:
        if row.to is not STAY:
            every[row.phase].add(row.to)
            if row.event in NAMED_ONLY_IN and row.event.__name__ in deadlines_of(row.phase):  # time alone gives it
                timed[row.phase].add(row.to)
    for phase in set(Phase) - _reached(Phase.CONNECTING, every):
        yield f"{phase}: a dead phase, no rule leads there"
    for phase in Phase:
        if phase is not Phase.ENDED and not timed[phase]:
            yield f"{phase}: no deadline leads out of it"
        elif Phase.ENDED not in _reached(phase, timed):
            yield f"{phase}: a trap, deadlines alone never lead to {Phase.ENDED}"


def _reached(start: Phase, ways: Mapping[Phase, set[Phase]]) -> set[Phase]:
    reached, frontier = {start}, [start]
    while frontier:
        for phase in ways.get(frontier.pop(), set()) - reached:
            reached.add(phase)
            frontier.append(phase)
    return reached


def _end_faults(rules: tuple[Rule, ...]) -> Iterator[str]:
    for row in rules:
        if row.to is row.phase:
            yield f"{row.phase}: {row.event.__name__} leads to itself and starts its clock anew: it should stay"
        if row.phase is Phase.ENDED and row.to is not STAY:
            yield f"{row.phase}: {row.event.__name__} leads out of it"


# --- the states -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Explored:
    """How far was looked, and what was found."""

    states: int = 0
    transitions: int = 0
    waits: int = 0
    finished: bool = False  # nothing was left to look at
    fired: Counter[tuple[Phase, type[e.Event]]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def unfired(self) -> list[Rule]:
        return [row for row in RULES if (row.phase, row.event) not in self.fired]

    def __str__(self) -> str:
        searched = "all there are" if self.finished else "then the search was stopped"
        told = (
            f"{self.states} states ({searched}), {self.transitions} transitions, {self.waits} deadlines waited for, "
            f"{len(RULES) - len(self.unfired)} of {len(RULES)} rules fired, {len(self.faults)} faults."
        )
        return "\n".join([told, *(f"  not fired: {row.phase} on {row.event.__name__}" for row in self.unfired)])


@dataclass(frozen=True, slots=True)
class _Node:
    """One state, and how a call gets there."""

    call: Call
    now: float
    by: str
    before: _Node | None = None

    def path(self) -> str:
        steps: list[str] = []
        node: _Node | None = self
        while node is not None:
            steps.append(node.by)
            node = node.before
        return ", ".join(reversed(steps))


def explore(*, policies: Iterable[Policy] = POLICIES, most_states: int = 4000) -> Explored:
    """Search the states of calls under these policies, so many in all; kinds of states that are alike take turns."""
    found = Explored()
    policies = tuple(policies)
    left = [_search(found, policy, most_states // len(policies)) for policy in policies]
    found.finished = not any(left)
    return found


class _Frontier:
    """States still to be looked at: the phases take turns, and in each phase the kinds of states."""

    def __init__(self) -> None:
        self._waiting: dict[Phase, dict[Hashable, deque[_Node]]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, node: _Node) -> None:
        kinds = self._waiting.setdefault(node.call.phase, {})
        kinds.setdefault(coarse(node.call), deque()).append(node)

    def pop(self) -> _Node:
        phase = next(iter(self._waiting))
        kinds = self._waiting.pop(phase)
        kind = next(iter(kinds))
        queue = kinds.pop(kind)
        node = queue.popleft()
        if queue:
            kinds[kind] = queue  # behind the others
        if kinds:
            self._waiting[phase] = kinds
        return node


def _search(found: Explored, policy: Policy, most_states: int) -> bool:
    """Search one policy's states; whether some were left."""
    call, _ = opened("model", policy)
    seen: set[Hashable] = {fine(call, 0.0)}
    ending: set[Hashable] = set()
    frontier = _Frontier()
    frontier.add(_Node(call, 0.0, "opened"))
    expanded = 0
    while frontier and expanded < most_states and len(found.faults) < MOST_FAULTS:
        node = frontier.pop()
        expanded += 1
        for after in _successors(found, node):
            key = fine(after.call, after.now)
            if key not in seen:
                seen.add(key)
                frontier.add(after)
        _check_ends(found, node, ending)
    found.states += expanded
    return bool(frontier)


def _successors(found: Explored, node: _Node) -> Iterator[_Node]:
    due = deadline_of(node.call)
    if due < inf:
        yield from _stepped(found, node, e.DeadlinePassed(at=max(due, node.now)))
    for gap_s in GAPS_S:
        at = max(node.now, min(node.now + gap_s, due))
        for fact in facts_in(node.call, at):
            yield from _stepped(found, node, fact)


def _stepped(found: Explored, node: _Node, fact: e.Event) -> Iterator[_Node]:
    """The state after this fact, unless it is a fault."""
    found.transitions += 1
    named = name_event(node.call, fact)
    name = type(named).__name__
    after = _Node(node.call, fact.at, f"{fact.at:.2f} {name}", node)
    try:
        call, _ = apply(node.call, named)
    except NotInThisPhase as problem:
        found.faults.append(f"{problem}, after {after.path()}")
        return
    found.fired[node.call.phase, type(named)] += 1
    after = _Node(call, fact.at, after.by, node)
    if call.phase is not Phase.ENDED and deadline_of(call) == inf:
        found.faults.append(f"{call.phase} waits without a time-out, after {after.path()}")
        return
    if node.call.phase is Phase.ENDED and call.phase is not Phase.ENDED:
        found.faults.append(f"{name} revives a call that has ended, after {after.path()}")
        return
    yield after


def _check_ends(found: Explored, node: _Node, ending: set[Hashable]) -> None:
    """Left alone, the call ends in time: each deadline moves it on, and the last of them comes."""
    call, now = node.call, node.now
    latest = max(now, call.opened_at + call.policy.max_duration_s) + HAND_OVER_S
    passed: list[Hashable] = []
    for _ in range(MOST_WAITS):
        if call.phase is Phase.ENDED:
            if now > latest:
                found.faults.append(f"ends {now - latest:.1f} s too late, left alone after {node.path()}")
            ending.update(passed)
            return
        key = fine(call, now)
        if key in ending:
            ending.update(passed)
            return
        passed.append(key)
        now = max(now, deadline_of(call))
        named = name_event(call, e.DeadlinePassed(at=now))
        found.waits += 1
        found.fired[call.phase, type(named)] += 1
        try:
            call, _ = apply(call, named)
        except NotInThisPhase as problem:
            found.faults.append(f"{problem}, left alone after {node.path()}")
            return
        if call.phase is not Phase.ENDED and deadline_of(call) <= now and _stands_still(call, now):
            found.faults.append(f"{call.phase}: {type(named).__name__} passes again and again, after {node.path()}")
            return
    found.faults.append(f"{call.phase}: a trap, {MOST_WAITS} deadlines do not end it, after {node.path()}")


def _stands_still(call: Call, now: float) -> bool:
    """Whether deadlines of this very moment go on without end: some may follow each other at once, each a new one."""
    for _ in range(len(Phase) + len(EVENTS)):
        call, _ = apply(call, name_event(call, e.DeadlinePassed(at=now)))
        if call.phase is Phase.ENDED or deadline_of(call) > now:
            return False
    return True
