"""`/health` (are we alive), `/ready` (may calls come), `/metrics` (Prometheus text).

With several workers whoever is asked for `/metrics` collects the numbers of all, each under its `worker` label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Response
from quart_trio import QuartTrio

from web.siblings import Siblings

Numbers = Callable[[], dict[str, float]]


class _Numbers(Collector):
    """Reads the parts' own statistics when it is asked; they count anyway, so nothing is counted twice."""

    def __init__(self, gauges: Numbers, counters: Numbers) -> None:
        self._gauges, self._counters = gauges, counters

    def collect(self) -> Iterator[Metric]:
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"callscope_{name}", name.replace("_", " "), value=value)
        for name, value in self._counters().items():
            yield CounterMetricFamily(f"callscope_{name}", name.replace("_", " "), value=value)


class _NumbersOfAll(Collector):
    """What each worker told of itself, as one scrape."""

    def __init__(self, told: Mapping[int, Mapping[str, Any]]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("callscope_workers_answering", "workers whose numbers are here", value=len(self._told))
        yield from self._families("gauges", GaugeMetricFamily)
        yield from self._families("counters", CounterMetricFamily)

    def _families(
        self, kind: str, family: type[GaugeMetricFamily] | type[CounterMetricFamily]
    ) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        for name in sorted({name for numbers in self._told.values() for name in numbers[kind]}):
            metric = family(f"callscope_{name}", name.replace("_", " "), labels=["worker"])
            for worker, numbers in sorted(self._told.items()):
                if name in numbers[kind]:
                    metric.add_metric([str(worker)], numbers[kind][name])
            yield metric


def add_health(
    app: QuartTrio,
    *,
    not_ready: Callable[[], str],
    gauges: Numbers,
    counters: Numbers,
    siblings: Siblings | None = None,
) -> None:
    """The three routes. `not_ready` says why no calls should come, or nothing."""
    own = CollectorRegistry(auto_describe=False)
    own.register(_Numbers(gauges, counters))

    @app.get("/health")
    async def health() -> Response:
        return Response("ok\n", 200, content_type="text/plain; charset=utf-8")

    @app.get("/ready")
    async def ready() -> Response:
        why = not_ready()
        return Response(f"{why or 'ready'}\n", 503 if why else 200, content_type="text/plain; charset=utf-8")

    @app.get("/metrics")
    async def metrics() -> Response:
        registry = own
        if siblings is not None:
            told = await siblings.numbers()
            mine = {"gauges": gauges(), "counters": counters()}
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_NumbersOfAll({**told, siblings.place.worker: mine}))
        return Response(generate_latest(registry), 200, content_type="text/plain; version=0.0.4; charset=utf-8")


def add_numbers(app: QuartTrio, *, gauges: Numbers, counters: Numbers) -> None:
    """The route that siblings ask for `/metrics`; it is on their socket only."""

    @app.get("/internal/numbers")
    async def numbers() -> dict[str, dict[str, float]]:
        return {"gauges": gauges(), "counters": counters()}
