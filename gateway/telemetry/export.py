"""Gives the cells to OpenTelemetry, for Prometheus to read and for OTLP to push."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from gateway.ports import Clock
from gateway.telemetry.cells import HistogramCells, Labels, NumberCells
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.names import Instrument, Kind

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
        histograms = _Histograms(metrics.histograms, clock)
        limits: dict[type, int] = {ObservableCounter: metrics.series_max + 1, ObservableGauge: metrics.series_max + 1}
        readers: list[MetricReader] = [_PrometheusReader(histograms, self._registry, limits)]
        if otlp is not None:
            readers.append(_OtlpReader(histograms, otlp, limits))
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
        while True:
            self._metrics.sample()
            await self._clock.sleep_s(_SAMPLE_S)

    async def push(self) -> None:
        """Sends to the collector now. Returns after at most about ten seconds, whether it was reached or not."""
        self._metrics.sample()
        await asyncio.to_thread(self._provider.force_flush, _PUSH_TIMEOUT_S * 1000)

    async def close(self, timeout_s: float = _PUSH_TIMEOUT_S) -> None:
        """A last push, then the readers' threads end."""
        self._metrics.sample()
        await asyncio.to_thread(self._provider.shutdown, timeout_s * 1000)


def attributes_of(instrument: Instrument, labels: Labels) -> dict[str, str]:
    """An empty label is an attribute that is not there."""
    return {name: value for name, value in zip(instrument.labels, labels, strict=True) if value}


def _observer(cells: NumberCells) -> Callable[[CallbackOptions], Iterable[Observation]]:
    instrument, scale = cells.instrument, cells.instrument.scale

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(value if scale == 1 else value * scale, attributes_of(instrument, labels))
            for labels, value in cells.snapshot()
        ]

    return observe


class _Histograms:
    """Our bucket arrays as the SDK's values."""

    def __init__(self, cells: Mapping[Instrument, HistogramCells], clock: Clock) -> None:
        self._cells = cells
        self._clock = clock
        self._start_nano = self._now_nano()

    def join(self, data: MetricsData) -> MetricsData:
        """The collection with our histograms in the same scope as the numbers."""
        ours = self._metrics()
        if not ours or not data.resource_metrics:
            return data
        resource, *rest = data.resource_metrics
        scope, *others = resource.scope_metrics
        joined = ScopeMetrics(scope.scope, [*scope.metrics, *ours], scope.schema_url)
        return MetricsData([replace(resource, scope_metrics=[joined, *others]), *rest])

    def _metrics(self) -> list[Metric]:
        now_nano = self._now_nano()
        metrics = []
        for instrument, cells in self._cells.items():
            points = [self._point(instrument, labels, cell, now_nano) for labels, cell in cells.snapshot()]
            if points:
                data = Histogram(points, AggregationTemporality.CUMULATIVE)
                metrics.append(Metric(instrument.name, instrument.about, instrument.unit, data))
        return metrics

    def _point(
        self, instrument: Instrument, labels: Labels, cell: Sequence[int | float], now_nano: int
    ) -> HistogramDataPoint:
        counts = [int(count) for count in cell[:-1]]
        return HistogramDataPoint(
            attributes=attributes_of(instrument, labels),
            start_time_unix_nano=self._start_nano,
            time_unix_nano=now_nano,
            count=sum(counts),
            sum=cell[-1],
            bucket_counts=counts,
            explicit_bounds=instrument.bounds,
            min=None,  # type: ignore[arg-type] # optional in the protocol; of no use in a cumulative histogram
            max=None,  # type: ignore[arg-type] # as above
        )

    def _now_nano(self) -> int:
        return int(self._clock.wall_s() * 1e9)


class _PrometheusReader(PrometheusMetricReader):
    def __init__(self, histograms: _Histograms, registry: CollectorRegistry, limits: dict[type, int]) -> None:
        self._histograms = histograms
        super().__init__(registry=registry, scope_info_enabled=False, cardinality_limits=limits)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(self._histograms.join(metrics_data), timeout_millis, **kwargs)


class _OtlpReader(PeriodicExportingMetricReader):
    """Pushes directly: neither proxies nor credentials are taken from the environment."""

    def __init__(self, histograms: _Histograms, otlp: Otlp, limits: dict[type, int]) -> None:
        self._histograms = histograms
        session = requests.Session()
        session.trust_env = False
        exporter = OTLPMetricExporter(
            endpoint=f"{otlp.endpoint.rstrip('/')}/v1/metrics",
            headers=dict(otlp.headers),
            timeout=_PUSH_TIMEOUT_S,
            session=session,
        )
        super().__init__(exporter, otlp.interval_s * 1000, _PUSH_TIMEOUT_S * 1000, cardinality_limits=limits)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(self._histograms.join(metrics_data), timeout_millis, **kwargs)
