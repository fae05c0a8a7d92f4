"""`/health` (are we alive), `/ready` (may calls come), `/metrics` (Prometheus text).

With several workers whoever is asked for `/metrics` collects the numbers of all, each under its `worker` label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Response
from quart_trio import QuartTrio

from web.siblings import Siblings
from web.turn_meters import TurnMeters

Numbers = Callable[[], dict[str, float]]
Histogram = dict[str, Any]  # buckets: [upper bound, count so far]; sum
Histograms = Callable[[], dict[str, Histogram]]


@dataclass(frozen=True)
class Meters:
    """The parts' own statistics, read when somebody asks; they count anyway, so nothing is counted twice.

    How turns go nobody counts: `turns` does, from the notes of the journal, and outlives any one app of the process.
    """

    gauges: Numbers
    counters: Numbers
    histograms: Histograms
    turns: TurnMeters

    def told(self) -> dict[str, dict[str, Any]]:
        """All numbers as JSON-able data."""
        return {
            "gauges": self.gauges(),
            "counters": self.counters(),
            "histograms": {**self.histograms(), **self.turns.histograms()},
            "labelled": self.turns.labelled(),
        }


class _Scrape(Collector):
    """What each worker told of itself, as one scrape; a process that serves alone has no `worker` label."""

    def __init__(self, told: Mapping[str, Mapping[str, Any]]) -> None:
        self._told = told
        self._labels = [] if set(told) == {""} else ["worker"]

    def collect(self) -> Iterator[Metric]:
        if self._labels:
            yield GaugeMetricFamily(
                "callscope_workers_answering", "workers whose numbers are here", value=len(self._told)
            )
        for name, values in self._all("gauges"):
            gauge = GaugeMetricFamily(f"callscope_{name}", name.replace("_", " "), labels=self._labels)
            for labels, value in values:
                gauge.add_metric(labels, value)
            yield gauge
        for name, values in self._all("counters"):
            counter = CounterMetricFamily(f"callscope_{name}", name.replace("_", " "), labels=self._labels)
            for labels, value in values:
                counter.add_metric(labels, value)
            yield counter
        for name, values in self._all("histograms"):
            histogram = HistogramMetricFamily(f"callscope_{name}", name.replace("_", " "), labels=self._labels)
            for labels, value in values:
                buckets = [(str(bound), float(count)) for bound, count in value["buckets"]]
                histogram.add_metric(labels, buckets, value["sum"])
            yield histogram
        for kind, family in (("gauges", GaugeMetricFamily), ("counters", CounterMetricFamily)):
            yield from self._labelled(kind, family)

    def _labelled(self, kind: str, family: type[GaugeMetricFamily | CounterMetricFamily]) -> Iterator[Metric]:
        """Numbers with labels of their own; what nobody has counted yet has no labels, so no line."""
        workers = {worker: numbers.get("labelled", {}).get(kind, {}) for worker, numbers in sorted(self._told.items())}
        for name in sorted({name for numbers in workers.values() for name in numbers}):
            found = [(worker, *one) for worker, numbers in workers.items() for one in numbers.get(name, ())]
            keys = sorted({key for _, labels, _ in found for key in labels})
            metric = family(f"callscope_{name}", name.replace("_", " "), labels=[*self._labels, *keys])
            for worker, labels, value in found:
                own = [worker] if self._labels else []
                metric.add_metric([*own, *(labels.get(key, "") for key in keys)], value)
            yield metric

    def _all(self, kind: str) -> Iterator[tuple[str, list[tuple[list[str], Any]]]]:
        """Each name with every worker's value."""
        for name in sorted({name for numbers in self._told.values() for name in numbers.get(kind, {})}):
            yield (
                name,
                [
                    ([worker] if self._labels else [], numbers[kind][name])
                    for worker, numbers in sorted(self._told.items())
                    if name in numbers.get(kind, {})
                ],
            )


def add_health(
    app: QuartTrio, *, not_ready: Callable[[], str], meters: Meters, siblings: Siblings | None = None
) -> None:
    """The three routes. `not_ready` says why no calls should come, or nothing."""

    @app.get("/health")
    async def health() -> Response:
        return Response("ok\n", 200, content_type="text/plain; charset=utf-8")

    @app.get("/ready")
    async def ready() -> Response:
        why = not_ready()
        return Response(f"{why or 'ready'}\n", 503 if why else 200, content_type="text/plain; charset=utf-8")

    @app.get("/metrics")
    async def metrics() -> Response:
        told: dict[str, Mapping[str, Any]] = {"": meters.told()}
        if siblings is not None:
            others = await siblings.numbers()
            told = {str(worker): numbers for worker, numbers in others.items()}
            told[str(siblings.place.worker)] = meters.told()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Scrape(told))
        return Response(generate_latest(registry), 200, content_type="text/plain; version=0.0.4; charset=utf-8")


def add_numbers(app: QuartTrio, meters: Meters) -> None:
    """The route that siblings ask for `/metrics`; it is on their socket only."""

    @app.get("/internal/numbers")
    async def numbers() -> dict[str, dict[str, Any]]:
        return meters.told()
