"""One direction of a network. Pure."""

from __future__ import annotations

from random import Random


class Way:
    """What goes in comes out later, never before what went in earlier."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._last = 0.0

    def due(self, now: float, delay_ms: float, jitter_ms: float = 0) -> float:
        """When what goes in now comes out, on the same clock in seconds. `jitter_ms`: the most that chance adds."""
        late_ms = self._chance.uniform(0, jitter_ms) if jitter_ms else 0.0
        self._last = max(self._last, now + (delay_ms + late_ms) / 1000)
        return self._last
