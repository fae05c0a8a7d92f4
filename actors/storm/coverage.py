"""What a storm has touched: rules, faults in phases, ways from phase to phase. Sums of workers add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.events import Event
from engine.phases import Phase
from engine.rules import RULES

RuleKey = tuple[Phase, type[Event]]


@dataclass
class Coverage:
    """Counts, by what they count."""

    rules: Counter[RuleKey] = field(default_factory=Counter)
    faults: Counter[tuple[str, Phase]] = field(default_factory=Counter)
    ways: Counter[tuple[Phase, Phase]] = field(default_factory=Counter)

    def add(self, other: Coverage) -> None:
        self.rules.update(other.rules)
        self.faults.update(other.faults)
        self.ways.update(other.ways)

    @property
    def rules_fired(self) -> int:
        return sum(1 for rule in RULES if self.rules[rule.phase, rule.event])

    def never_fired(self) -> list[str]:
        """Rules that nothing has led to, as `phase: event`."""
        return [f"{rule.phase}: {rule.event.__name__}" for rule in RULES if not self.rules[rule.phase, rule.event]]

    def faults_by_phase(self) -> dict[str, dict[str, int]]:
        """fault → phase → how often."""
        found: dict[str, dict[str, int]] = {}
        for (fault, phase), count in sorted(self.faults.items()):
            found.setdefault(fault, {})[str(phase)] = count
        return found

    def phase_pairs(self) -> dict[str, int]:
        return {f"{one} → {other}": count for (one, other), count in sorted(self.ways.items())}


def rules_total() -> int:
    return len(RULES)


def together(coverages: Iterable[Coverage]) -> Coverage:
    """The sum."""
    whole = Coverage()
    for coverage in coverages:
        whole.add(coverage)
    return whole
