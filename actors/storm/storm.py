"""Many seeds, on one core or several, summed up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from actors.storm import actor_level, engine_level
from actors.storm.coverage import Coverage, rules_total, together
from actors.storm.plan import plan_of

Level = Literal["engine", "actors"]
Violation = tuple[int, str, float, str]
"""Seed, law, when in seconds of the call, what."""
CHUNK = {"engine": 5000, "actors": 100}


@dataclass
class Storm:
    """What a storm found."""

    level: Level
    first: int
    seeds: int = 0
    calls: int = 0
    took_s: float = 0.0
    cpu_s: float = 0.0
    jobs: int = 1
    coverage: Coverage = field(default_factory=Coverage)
    violations: list[Violation] = field(default_factory=list)

    @property
    def calls_per_minute(self) -> float:
        return self.calls / self.took_s * 60 if self.took_s else 0.0

    @property
    def calls_per_minute_and_core(self) -> float:
        return self.calls / self.cpu_s * 60 if self.cpu_s else 0.0

    def figures(self) -> dict[str, Any]:
        """For `--json`."""
        seen = self.coverage
        return {
            "level": self.level,
            "seeds": self.seeds,
            "first_seed": self.first,
            "calls": self.calls,
            "violations": len(self.violations),
            "violated": [
                {"seed": seed, "law": law, "at_s": round(at, 4), "what": what}
                for seed, law, at, what in self.violations
            ],
            "calls_per_minute": round(self.calls_per_minute),
            "calls_per_minute_and_core": round(self.calls_per_minute_and_core),
            "jobs": self.jobs,
            "took_s": round(self.took_s, 1),
            "rules_fired": seen.rules_fired,
            "rules_total": rules_total(),
            "rules_never_fired": seen.never_fired(),
            "faults_by_phase": seen.faults_by_phase(),
            "phase_pairs": seen.phase_pairs(),
        }


def run_chunk(level: Level, first: int, seeds: int) -> Storm:
    """These seeds, one after the other."""
    seen = Coverage()
    found = Storm(level, first, seeds)
    began, cpu = time.perf_counter(), time.process_time()
    for seed in range(first, first + seeds):
        if level == "engine":
            broken = engine_level.live(seed, seen)
            found.calls += 1
            if broken is not None:
                found.violations.append((seed, broken.law, broken.at, broken.what))
        else:
            lived = actor_level.live_plan(plan_of(seed), seen)
            found.calls += len(lived.calls)
            if lived.broken is not None:
                found.violations.append((seed, lived.broken.law, lived.broken.at, lived.broken.what))
    found.took_s, found.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    found.coverage = seen
    return found


def run(
    level: Level,
    seeds: int,
    *,
    first: int = 0,
    jobs: int = 1,
    most_violations: int = 100,
    told: Callable[[Storm], None] = lambda _: None,
) -> Storm:
    """So many seeds, counted from `first`.

    Args:
        most_violations: then it stops: a law that breaks at every second seed needs no more of them.
        told: is shown the sum so far, now and then.
    """
    whole = Storm(level, first, jobs=jobs)
    began = time.perf_counter()
    for part in _parts(level, seeds, first, jobs):
        whole.seeds += part.seeds
        whole.calls += part.calls
        whole.cpu_s += part.cpu_s
        whole.violations += part.violations
        whole.coverage = together((whole.coverage, part.coverage))
        whole.took_s = time.perf_counter() - began
        told(whole)
        if len(whole.violations) >= most_violations:
            break
    whole.violations.sort()
    return whole


def _parts(level: Level, seeds: int, first: int, jobs: int) -> Iterator[Storm]:
    size = min(CHUNK[level], max(1, -(-seeds // jobs)))
    chunks = [(at, min(size, first + seeds - at)) for at in range(first, first + seeds, size)]
    if jobs == 1:
        for at, many in chunks:
            yield run_chunk(level, at, many)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(run_chunk, level, at, many) for at, many in chunks]
        try:
            for one in waiting:
                yield one.result()
        finally:
            for one in waiting:
                one.cancel()
