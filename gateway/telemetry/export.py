"""Gives the cells to OpenTelemetry, for Prometheus to read and for OTLP to push."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics.export import (
    MetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from gateway.ports import Clock
from gateway.telemetry.cells import NumberCells
from gateway.telemetry.histograms import Histograms, attributes_of
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.names import Kind
from gateway.upkeep import keep_up

PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SCOPE = "meterway"
_PUSH_TIMEOUT_S = 10.0
_SAMPLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who exports, as resource attributes."""

    service_name: str
    instance_id: str
    version: str
    environment: str | None = None

    def resource(self) -> Resource:
        attributes = {
            "service.name": self.service_name,
            "service.instance.id": self.instance_id,
            "service.version": self.version,
        }
        if self.environment:
            attributes["deployment.environment.name"] = self.environment
        return Resource(attributes)


@dataclass(frozen=True, slots=True)
class Otlp:
    """A collector to push to. `endpoint` is its base URL; header values are secrets."""

    endpoint: str
    headers: Mapping[str, str]
    interval_s: float = 60.0

    def __repr__(self) -> str:
        return f"Otlp({self.endpoint!r}, headers=***, interval_s={self.interval_s})"


class Exporter:
    """Owns the OpenTelemetry provider. Numbers are observed, histograms are added to each collection."""

    def __init__(self, metrics: Metrics, clock: Clock, identity: Identity, otlp: Otlp | None = None) -> None:
        self._metrics = metrics
        self._clock = clock
        self._registry = CollectorRegistry()
        self._one_scrape = asyncio.Lock()
        histograms = Histograms(metrics.histograms, clock)
        limits: dict[type, int] = {ObservableCounter: metrics.series_max + 1, ObservableGauge: metrics.series_max + 1}
        readers: list[MetricReader] = [_PrometheusReader(histograms, self._registry, limits)]
        if otlp is not None:
            push = import_module("gateway.telemetry.otlp")
            readers.append(push.OtlpReader(histograms, otlp.endpoint, otlp.headers, otlp.interval_s, limits))
        self._provider = MeterProvider(readers, identity.resource(), shutdown_on_exit=False)
        meter = self._provider.get_meter(_SCOPE, identity.version)
        for instrument, cells in metrics.numbers.items():
            observers = [_observer(cells)]
            if instrument.kind is Kind.COUNTER:
                meter.create_observable_counter(instrument.name, observers, instrument.unit, instrument.about)
            else:
                meter.create_observable_gauge(instrument.name, observers, instrument.unit, instrument.about)

    async def prometheus(self) -> bytes:
        """The text of /metrics. Rendered in a thread, one scrape at a time."""
        async with self._one_scrape:
            self._metrics.sample()
            return await asyncio.to_thread(generate_latest, self._registry)

    async def keep_sampled(self) -> None:
        """Runs for as long as the gateway does: the thread that pushes must not ask the loop's objects itself."""
        await keep_up("metrics are not sampled", self._sample, partial(self._clock.sleep_s, _SAMPLE_S))

    async def _sample(self) -> None:
        self._metrics.sample()

    async def push(self) -> None:
        """Sends to the collector now. Returns after at most about ten seconds, whether it was reached or not."""
        self._metrics.sample()
        await asyncio.to_thread(self._provider.force_flush, _PUSH_TIMEOUT_S * 1000)

    async def close(self, timeout_s: float = _PUSH_TIMEOUT_S) -> None:
        """A last push, then the readers' threads end."""
        self._metrics.sample()
        await asyncio.to_thread(self._provider.shutdown, timeout_s * 1000)


def _observer(cells: NumberCells) -> Callable[[CallbackOptions], Iterable[Observation]]:
    instrument, scale = cells.instrument, cells.instrument.scale

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(value if scale == 1 else value * scale, attributes_of(instrument, labels))
            for labels, value in cells.snapshot()
        ]

    return observe


class _PrometheusReader(PrometheusMetricReader):
    def __init__(self, histograms: Histograms, registry: CollectorRegistry, limits: dict[type, int]) -> None:
        self._histograms = histograms
        super().__init__(registry=registry, scope_info_enabled=False, cardinality_limits=limits)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(self._histograms.join(metrics_data), timeout_millis, **kwargs)
