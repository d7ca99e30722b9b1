"""Sends what is recorded to a collector, over OTLP and HTTP."""

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agent_runtime.telemetry.recorder import OtelRecorder

EXPORT_TIMEOUT_S = 30
SPANS_EVERY_MS = 5_000
METRICS_EVERY_MS = 60_000
FLUSH_MS = 10_000


class ExportingRecorder(OtelRecorder):
    """`flush` before the process ends; a collector that is away costs no run anything."""

    def __init__(self, endpoint: str, service: str, environment: str) -> None:
        url = endpoint.rstrip("/")
        resource = Resource.create({"service.name": service, "deployment.environment.name": environment})
        metrics = OTLPMetricExporter(f"{url}/v1/metrics", timeout=EXPORT_TIMEOUT_S)
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=METRICS_EVERY_MS)
        self._meters = MeterProvider([reader], resource)
        self._tracers = TracerProvider(resource=resource)
        spans = OTLPSpanExporter(f"{url}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=SPANS_EVERY_MS))
        super().__init__(meters=self._meters, tracers=self._tracers)

    def flush(self) -> None:
        self._tracers.force_flush(FLUSH_MS)
        self._meters.force_flush(FLUSH_MS)
        self._tracers.shutdown()
        self._meters.shutdown(FLUSH_MS)
