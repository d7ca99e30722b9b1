"""Sends what is recorded to a collector, over OTLP and HTTP."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from agent_runtime.telemetry.recorder import OtelRecorder

EXPORT_TIMEOUT_S = 30
SPANS_EVERY_MS = 5_000
METRICS_EVERY_MS = 60_000
FLUSH_MS = 10_000


class CountedSpans(OTLPSpanExporter):
    def __init__(self, recorder: OtelRecorder, url: str, *, timeout: float) -> None:
        super().__init__(url, timeout=timeout)
        self._recorder = recorder

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._recorder.counted("agent.export.failed", signal="traces")
        return result


class CountedMetrics(OTLPMetricExporter):
    """What is counted here is seen once the collector is back."""

    def __init__(self, recorder: OtelRecorder, url: str, *, timeout: float) -> None:
        super().__init__(url, timeout=timeout)
        self._recorder = recorder

    def export(self, metrics_data: MetricsData, *places: Any, **more: Any) -> MetricExportResult:
        result = super().export(metrics_data, *places, **more)
        if result is not MetricExportResult.SUCCESS:
            self._recorder.counted("agent.export.failed", signal="metrics")
        return result


class ExportingRecorder(OtelRecorder):
    """`flush` before the process ends; a collector that is away costs no run anything."""

    def __init__(self, endpoint: str, service: str, environment: str) -> None:
        url = endpoint.rstrip("/")
        resource = Resource.create({"service.name": service, "deployment.environment.name": environment})
        metrics = CountedMetrics(self, f"{url}/v1/metrics", timeout=EXPORT_TIMEOUT_S)
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=METRICS_EVERY_MS)
        self._meters = MeterProvider([reader], resource)
        self._tracers = TracerProvider(resource=resource)
        spans = CountedSpans(self, f"{url}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=SPANS_EVERY_MS))
        super().__init__(meters=self._meters, tracers=self._tracers)

    def flush(self) -> None:
        self._tracers.force_flush(FLUSH_MS)
        self._meters.force_flush(FLUSH_MS)
        self._tracers.shutdown()
        self._meters.shutdown(FLUSH_MS)
