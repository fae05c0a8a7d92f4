"""Random calls against a bug of the museum: which seed finds it, and by which law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pytest import MonkeyPatch

from actors.storm import actor_level, engine_level
from actors.storm.coverage import Coverage

ENGINE_SEEDS, ACTOR_SEEDS = 5000, 400
Level = Literal["engine", "actors"]


def search(patch: Callable[[MonkeyPatch], None], level: Level, seeds: int) -> str:
    """The first seed that finds it, and the law that did not hold; empty if none of so many does."""
    live = engine_level.live if level == "engine" else actor_level.live
    with MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch)
        for seed in range(seeds):
            try:
                broken = live(seed, Coverage())
            except Exception as crash:  # whatever a bug does to the storm, it has been noticed
                return f"{seed}: {type(crash).__name__}"
            if broken is not None:
                return f"{seed}: {broken.law}"
    return ""
