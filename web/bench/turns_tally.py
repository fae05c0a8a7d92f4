"""What the referees found, added up over many calls; and the figures that come of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.world.referee import Fate, Report, Ruling
from engine.audio import FRAME_MS

WORST = ("missed", "ended by a false one", "silence ms", "overlap ms", "lost frames", "certificate ms")


@dataclass
class Tally:
    """Counts, and where to look first."""

    calls: int = 0
    interruptions: int = 0  # sounds of any kind into a speech of the agent's
    true: int = 0
    true_ended: int = 0
    false: int = 0
    false_ended: int = 0
    holds_resumed: int = 0
    onsets_ms: list[float] = field(default_factory=list)
    lost_frames: list[float] = field(default_factory=list)  # at each break in a speech; negative: heard twice
    gaps_ms: list[float] = field(default_factory=list)
    longest_silence_ms: float = 0.0
    overlaps: int = 0
    words_lost: int = 0
    certificates: int = 0
    certificate_error_ms: float = 0.0
    certificates_wrong: int = 0
    uncertified: int = 0
    missed_steps: int = 0
    misheard: int = 0  # sounds of which the twin's recogniser made other words: how they ended says nothing about us
    worst: list[tuple[str, float, str]] = field(default_factory=list)  # what, how much, which call

    def add(self, report: Report, name: str) -> None:
        """One call of a world."""
        self.calls += 1
        for ruling in report.rulings:
            self.count(ruling, f"{name}: {ruling.name}")
        self.false += report.causeless_ended + report.causeless_held
        self.false_ended += report.causeless_ended
        self.holds_resumed += report.causeless_held
        self.worst += [("ended by a false one", 1.0, f"{name}: nothing at all")] * report.causeless_ended
        self.lost_frames += [ms / FRAME_MS for ms in report.lost_ms]
        self.worst += [("lost frames", abs(ms) / FRAME_MS, name) for ms in report.lost_ms if ms]
        self.gaps_ms += report.gaps_ms
        self.count_overlaps(report.overlaps, name)
        self.count_silences(report.silences, name)
        self.certificates += len(report.certificates)
        self.uncertified += report.uncertified
        self.certificates_wrong += sum(not one.right_decision for one in report.certificates)
        worst_ms = max((one.worst_ms for one in report.certificates), default=0.0)
        self.certificate_error_ms = max(self.certificate_error_ms, worst_ms)
        self.worst.append(("certificate ms", worst_ms, name))

    def count(self, ruling: Ruling, name: str) -> None:
        """One sound of a caller's."""
        fate, where = ruling.fate, f"{name} at {ruling.onset_ms:.0f} ms"
        self.words_lost += ruling.words_lost
        if fate in (Fate.NOTHING, Fate.FINISHED):
            return
        self.interruptions += 1
        if ruling.is_speech:
            self.true += 1
            self.true_ended += fate is Fate.ENDED
            if fate is not Fate.ENDED:
                self.worst.append(("missed", 1.0, where))
            elif ruling.silent_ms is not None:
                self.onsets_ms.append(ruling.silent_ms)
        elif fate is not Fate.OVERTAKEN:
            self.false += 1
            self.false_ended += fate is Fate.ENDED
            self.holds_resumed += fate is Fate.RESUMED
            if fate is Fate.ENDED:
                self.worst.append(("ended by a false one", 1.0, where))

    def count_overlaps(self, spans: Iterable[tuple[float, float]], name: str) -> None:
        found = [("overlap ms", end - start, f"{name} at {start:.0f} ms") for start, end in spans]
        self.overlaps += len(found)
        self.worst += found

    def count_silences(self, spans: Iterable[tuple[float, float]], name: str) -> None:
        found = [("silence ms", end - start, f"{name} at {start:.0f} ms") for start, end in spans]
        self.longest_silence_ms = max([self.longest_silence_ms, *(ms for _, ms, _ in found)])
        self.worst += found

    def figures(self, onsets_ms: Sequence[float] | None = None) -> dict[str, Any]:
        """For the table and the JSON. `onsets_ms`: instead of our own."""
        return {
            "calls": self.calls,
            "interruptions": self.interruptions,
            "onset_to_silence_ms": percentiles(self.onsets_ms if onsets_ms is None else onsets_ms),
            "true_rate": _share(self.true_ended, self.true),
            "false_rate": _share(self.false_ended, self.false),
            "true": self.true,
            "false": self.false,
            "holds_resumed": self.holds_resumed,
            "resume_error_frames_max": round(max((abs(frames) for frames in self.lost_frames), default=0.0), 2),
            "gap_ms_max": max(self.gaps_ms, default=0.0),
            "longest_silence_ms": round(self.longest_silence_ms, 1),
            "overlaps": self.overlaps,
            "words_lost": self.words_lost,
            "certificates": self.certificates,
            "certificate_error_frames_max": round(self.certificate_error_ms / FRAME_MS, 2),
            "certificates_wrong": self.certificates_wrong,
            "uncertified": self.uncertified,
            "missed_steps": self.missed_steps,
            "misheard": self.misheard,
        }

    def worst_of(self, what: str, many: int = 5) -> list[str]:
        """Where to look first."""
        found = sorted((one for one in self.worst if one[0] == what), key=lambda one: -one[1])[:many]
        return [f"{value:.0f} {where}" for _, value, where in found]


def together(tallies: Iterable[Tally]) -> Tally:
    """All of them as one."""
    total = Tally()
    for tally in tallies:
        for name, value in vars(tally).items():
            present = getattr(total, name)
            largest = name in ("longest_silence_ms", "certificate_error_ms")
            setattr(total, name, max(present, value) if largest else present + value)
    return total


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, each a value that occurred; empty when there is none."""
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[math.ceil(len(ordered) * share) - 1], 1) for name, share in ranks.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
