"""Our bucket arrays as OpenTelemetry's values."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ScopeMetrics,
)

from gateway.ports import Clock
from gateway.telemetry.cells import HistogramCells, Labels
from gateway.telemetry.names import Instrument


def attributes_of(instrument: Instrument, labels: Labels) -> dict[str, str]:
    """An empty label is an attribute that is not there."""
    return {name: value for name, value in zip(instrument.labels, labels, strict=True) if value}


class Histograms:
    """Joins what was counted to each collection of the SDK."""

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
