"""`/health` (are we alive), `/ready` (may calls come), `/metrics` (Prometheus text)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Response
from quart_trio import QuartTrio

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


def add_health(app: QuartTrio, *, not_ready: Callable[[], str], gauges: Numbers, counters: Numbers) -> None:
    """The three routes. `not_ready` says why no calls should come, or nothing."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(gauges, counters))

    @app.get("/health")
    async def health() -> Response:
        return Response("ok\n", 200, content_type="text/plain; charset=utf-8")

    @app.get("/ready")
    async def ready() -> Response:
        why = not_ready()
        return Response(f"{why or 'ready'}\n", 503 if why else 200, content_type="text/plain; charset=utf-8")

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), 200, content_type="text/plain; version=0.0.4; charset=utf-8")
