"""What came of conformance runs: a table to read, and files to keep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.conformance.peers import Role, Verdict

__all__ = ["Run", "failures_of", "table_of", "write_report"]

_HEAD = (
    f"{'we are the':<12}{'frames read':<13}{'cases':>6}{'passed':>8}{'OK':>6}{'non-strict':>12}{'inform.':>9}{'s':>7}"
)


@dataclass(frozen=True, slots=True)
class Run:
    role: Role
    in_place: bool
    verdicts: Sequence[Verdict]
    took_s: float

    @property
    def name(self) -> str:
        return f"{self.role}.{'in_place' if self.in_place else 'library'}"


def table_of(runs: Sequence[Run]) -> str:
    """One line a run, and the cases that are neither OK nor failed."""
    lines = [_HEAD]
    for run in runs:
        kinds = Counter(verdict.behavior for verdict in run.verdicts)
        passed = sum(verdict.passed for verdict in run.verdicts)
        lines.append(
            f"{run.role:<12}{'in place' if run.in_place else 'by library':<13}{len(run.verdicts):>6}{passed:>8}"
            f"{kinds['OK']:>6}{kinds['NON-STRICT']:>12}{kinds['INFORMATIONAL']:>9}{run.took_s:>7.1f}"
        )
    lines += [
        f"{run.name}: {verdict.case} {verdict.behavior}, close {verdict.behavior_close}"
        for run in runs
        for verdict in run.verdicts
        if verdict.passed and (verdict.behavior, verdict.behavior_close) != ("OK", "OK")
    ]
    return "\n".join(lines)


def failures_of(runs: Sequence[Run]) -> str:
    """What was expected beside what came, of each case that failed; empty when none did."""
    return "".join(
        f"\nFAILED {run.name} {verdict.case}: {verdict.behavior}, close {verdict.behavior_close}"
        f" with {verdict.close_code}\n  {verdict.description}\n  expected: {verdict.expectation}\n"
        f"  {verdict.result}\n  received: {verdict.received}\n"
        for run in runs
        for verdict in run.verdicts
        if not verdict.passed
    )


def write_report(run: Run, folder: Path) -> Path:
    """Every verdict, with what was run against what."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"autobahn.{run.name}.json"
    report = {
        "suite": f"Autobahn's cases through kosoku {version('kosoku')}",
        "library": f"websockets {version('websockets')}",
        "role": run.role,
        "in_place": run.in_place,
        "took_s": round(run.took_s, 1),
        "verdicts": [asdict(verdict) | {"passed": verdict.passed} for verdict in run.verdicts],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path
