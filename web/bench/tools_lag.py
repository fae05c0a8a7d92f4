"""How late a service's 20 ms ticks came, by its own `/metrics`: the difference of two looks at one histogram."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from web.bench.contenders import Contender

_BUCKET = re.compile(r'^callscope_loop_lag_seconds_bucket\{(?:[^}]*,)?le="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Lag:
    """Upper bound in seconds → how many ticks were at most that late, cumulative."""

    buckets: Mapping[float, float]

    @classmethod
    def read(cls, metrics: str) -> Lag:
        return cls({float(bound): float(count) for bound, count in _BUCKET.findall(metrics)})

    def __sub__(self, before: Lag) -> Lag:
        return Lag({bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()})

    def at_most_ms(self, share: float) -> float:
        """This share of the ticks was no later than so many milliseconds: a bucket's upper bound."""
        total = max(self.buckets.values(), default=0.0)
        bounds = sorted(bound for bound, count in self.buckets.items() if count >= share * total)
        return bounds[0] * 1000 if bounds else 0.0


async def lag_of(service: Contender) -> Lag:
    assert service.http is not None
    return Lag.read((await service.http.get(service.url + "/metrics")).text)
